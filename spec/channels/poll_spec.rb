# frozen_string_literal: true

require "spec_helper"

# What a long poll is answered with, and how a client goes on after a lost connection.
RSpec.describe "A long poll" do
  include ChannelClients
  include Polling

  serve Polling::CONFIG, "--threads", "1"

  let(:channel) { "kept-#{Serving.next_name}" }

  it "brings exactly what was missed while the connection was lost, then new messages" do
    client = polling(channel)
    publish(channel, *"1".."5")
    seen = client.events(5)
    expect(seen.map(&:data)).to eq(%w[1 2 3 4 5])
    start_poll(client).lose
    publish(channel, *"6".."9")
    missed = client.events(4)
    expect(missed.map(&:data)).to eq(%w[6 7 8 9])
    first = numbers([seen.last.id]).first + 1
    expect(numbers(missed.map(&:id))).to eq([*first..first + 3])
    start_poll(client)
    publish(channel, "10")
    expect(client.answer.data).to eq(["10"])
    expect(callbacks(client)).to eq([:open])
  end

  it "is answered with an event stream of known length: `retry:`, all messages, and an ID at its end" do
    client = poller("/#{channel}", headers: { "x-hello" => "yes" })
    response = client.poll.response
    expect(response["content-type"]).to eq("text/event-stream; charset=utf-8")
    expect(response.framing).to eq(:length)
    expect(response["cache-control"]).to eq("no-cache, no-store")
    expect(response["set-cookie"]).to match(/\Apoll=\d+\z/)
    publish(channel, "1", "2")
    answer = client.poll
    expect(answer.blocks.first.retry).to be_between(200, 500)
    expect(answer.data).to eq(%w[1 2]).or eq(["1"])
    # Some clients dispatch an event at each empty line: only messages and the ID have one.
    expect(answer.blocks.map { |block| block.data || block.id }).to all(be_a(String))
    last = answer.blocks.last
    expect(last.lines.size).to eq(1)
    expect(last.id).to match(/\A\h+-\d+\.\h{32}\.2\z/)
    expect(numbers([last.id])).to eq(numbers([answer.events.last.id]))
    expect(answer.response["set-cookie"]).to match(/\Apoll=\d+\z/)
  end

  it "is answered first with what on_open wrote, push.open and what was missed" do
    cursor = app.ask("PushServer.cursor")
    publish(channel, "1")
    client = poller("/#{channel}", cursor: cursor, headers: { "x-hello" => "yes" })
    events = client.poll.events
    expect(events.map { |it| [it.event, it.data] })
      .to eq([%w[hello hello], ["push.open", '{"recovered":true,"gap":[]}'], %w[msg 1]])
    publish(channel, "2")
    expect(client.poll.data).to eq(["2"])
    expect(ask(client, "[client.protocol, client.recovered?, client.last_event_id]")).to eq(["sse", true, cursor])
  end

  it "gets what on_open writes and its push.open in one answer" do
    channels = Array.new(20) { "kept-#{Serving.next_name}" }.join(",")
    firsts = Array.new(200) { poller("/#{channels}", headers: { "x-hello" => "yes" }).poll.events.map(&:event) }
    expect(firsts.tally).to eq(%w[hello push.open] => 200)
  end

  it "repeats an answer that was lost, including messages without history and writes" do
    client = polling(loose = "loose-#{Serving.next_name}")
    start_poll(client)
    publish(loose, "published")
    client.connection.read_until("data: published")
    ask(client, "client.write('written')")
    client.lose
    client.ask.connection.read_until("data: written")
    client.lose
    expect(client.poll.data).to eq(%w[published written])
    publish(loose, "last")
    expect(client.poll.data).to eq(["last"])
    expect(callbacks(client)).to eq([:open])
  end

  it "is answered with its ID alone when there is no message, over the same connection" do
    client = polling(channel)
    connection = client.connection
    answer = client.poll(wait: 0.05)
    expect(answer.events).to eq([])
    expect(answer.response.body).to match(/\Aretry: \d+\n:\nid: \S+\n\n\z/)
    expect(client.poll(wait: 0).events).to eq([])
    publish(channel, "1")
    expect(client.poll.data).to eq(["1"])
    expect(client.connection).to equal(connection)
  end

  it "moves its ID on with the log, so that the client of a quiet channel can resume much later" do
    client = polling(channel)
    publish("kept-other", *"1".."5")
    cursor = client.poll(wait: 0).ids.last
    expect(numbers([cursor])).to eq(numbers([app.ask("PushServer.cursor")]))
  end

  it "waits as long as the Prefer header says" do
    client = poller("/#{channel}", query: "q=1", headers: { "prefer" => "respond-async, wait=0.05" })
    expect(client.poll.events.map(&:event)).to eq(["push.open"])
    expect(client.poll.comments).to eq([""])
  end

  it "is answered when a newer poll of its session comes" do
    older = polling(channel)
    newer = poller("/#{channel}")
    newer.instance_variable_set(:@cursor, cursor = older.cursor)
    start_poll(older)
    newer.ask(target: "/#{channel}?#{older.id}")
    answer = older.answer
    expect(answer.events).to eq([])
    expect(answer.ids).to eq([cursor])
    publish(channel, "1")
    expect(newer.answer.data).to eq(["1"])
    expect(callbacks(older)).to eq([:open])
  end

  it "brings writes in order, without IDs" do
    client = poller("/", headers: { "x-hello" => "yes" })
    expect(client.poll.data).to eq(["hello"])
    event(:drained, client)
    expect(ask(client, "[client.write('a'), client.write('b', id: '7', event: nil), client.pending]")).to eq([true, true, 2])
    answer = client.poll
    expect(answer.events.map { |it| [it.event, it.data, it.id] }).to eq([["msg", "a", nil], [nil, "b", nil]])
    event(:drained, client)
    expect(ask(client, "client.pending")).to eq(0)
    start_poll(client)
    ask(client, "client.write('c')")
    expect(client.answer.data).to eq(["c"])
  end

  it "brings binary messages as base64" do
    client = polling(channel)
    app.ask("PushServer.publish(#{channel.inspect}, [0, 255, 10].pack('C*'))")
    expect(client.poll.events.first.to_h).to include(event: "push.binary", data: "AP8K")
  end

  it "announces a gap for an ID that is too old, of another log, or invalid" do
    short = "short-#{Serving.next_name}"
    cursor = publish(short, "0")
    publish(short, *"1".."5")
    [cursor, "123-1", "nonsense"].each do |old|
      client = poller("/#{short}", cursor: old)
      open = client.poll.events.first
      expect(JSON.parse(open.data)).to eq("recovered" => false, "gap" => [short])
      event(:gap, client, channel: short)
    end
  end

  it "brings 1.5 MB in a few answers" do
    cursor = publish(channel, "0")
    publish("kept-long", *Array.new(100) { |number| number.to_s * 15_000 })
    client = poller("/kept-long", cursor: cursor)
    answers = [client.poll]
    answers << client.poll until answers.sum { |answer| answer.events.size } > 100
    expect(answers.flat_map(&:data).drop(1)).to eq(Array.new(100) { |number| number.to_s * 15_000 })
    expect(answers.size).to be_between(2, 5)
  end

  it "gets IDs with which an event stream can resume" do
    client = polling(channel)
    publish(channel, "1")
    stream = subscriber(SseClient, channel, since: client.cursor)
    expect(read_open(stream)).to eq(recovered: true, gap: [])
    expect(stream.read_event.data).to eq("1")
    expect(ask(stream, "client.last_event_id")).to eq(client.cursor[/\A[^.]+/])
  end

  it "must accept an event stream, and be a GET" do
    name = Serving.next_name
    response = get("/#{channel}?push_wait=0&#{name}")
    expect(response.status).to eq(200)
    expect(app.events.take(event: "call", id: "push_wait=0&#{name}")).to include(upgrade: nil)
    head = http.request("HEAD", "/?push_wait=25", { "accept" => "text/event-stream" })
    expect(head.status).to eq(200)
  end
end
