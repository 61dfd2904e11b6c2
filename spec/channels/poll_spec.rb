# frozen_string_literal: true

require "spec_helper"

# Long polls: one client to its handler, whatever becomes of its requests.
RSpec.describe "The long poll" do
  include ChannelClients

  config = <<~'CONFIG'
    require "push_server"
    require "spec_app"

    PushServer.channel "kept*", history: 100
    PushServer.channel "short*", history: 3
    PushServer.channel "room*", presence: true
    $refusal = nil
    $cookie = 0
    $gate = nil

    class Polled < SpecApp::Recorder
      def on_open(client)
        path = client.env["PATH_INFO"].delete_prefix("/")
        path.split(",").each { |channel| client.subscribe(channel, member: client.env["HTTP_X_MEMBER"]) }
        client.write("hello", event: "hello") if client.env["HTTP_X_HELLO"]
        super
      end

      def on_gap(client, channel) = note(:gap, client, channel: channel)
    end

    run(lambda do |env|
      SpecApp.report(:call, id: env["QUERY_STRING"], upgrade: env["rack.upgrade?"])
      $gate&.pop
      env["push_server.session_owner"] = eval(env["HTTP_X_OWNER"]) if env["HTTP_X_OWNER"]
      next $refusal if $refusal

      env["rack.upgrade"] = Polled.new if env["rack.upgrade?"]
      [200, { "set-cookie" => "poll=#{$cookie += 1}" }, []]
    end)
  CONFIG

  # A client that has not asked yet.
  def poller(channels = "", query: "push_wait=25", **options)
    id = "#{query}&#{Serving.next_name}"
    closing(PollClient.new(app.address, "/#{channels}?#{id}", id: id, **options))
  end

  # One that has a session, and has been told of its subscription.
  def polling(channels, **options)
    client = poller(channels, **options)
    expect(client.poll.events.map(&:event)).to start_with("push.open")
    event(:open, client)
    client
  end

  # Asks, and waits until the app has let it in. With one worker that is over when the app next does anything.
  def let_in(client, **how)
    asked = calls(client).size
    client.ask(**how)
    eventually("the app to be called") { calls(client).size > asked }
    app.ask("nil")
    client
  end

  def calls(client) = app.events.all(event: "call").select { |call| call[:id].end_with?(client.id[/c\d+\z/]) }
  # What its handler was called for.
  def callbacks(client) = story(client) - %i[call drained]
  def numbers(ids) = ids.map { |id| Integer(id[/\A\h+-(\d+)/, 1]) }
  def refuse(answer) = app.ask("$refusal = #{answer.inspect}; nil")

  context "with the linger of always" do
    serve config, "--threads", "1"

    let(:channel) { "kept-#{Serving.next_name}" }

    it "brings exactly what was missed when the connection was lost, then what is new" do
      client = polling(channel)
      publish(channel, *"1".."5")
      seen = client.events(5)
      expect(seen.map(&:data)).to eq(%w[1 2 3 4 5])
      let_in(client).lose
      publish(channel, *"6".."9")
      missed = client.events(4)
      expect(missed.map(&:data)).to eq(%w[6 7 8 9])
      first = numbers([seen.last.id]).first + 1
      expect(numbers(missed.map(&:id))).to eq([*first..first + 3])
      let_in(client)
      publish(channel, "10")
      expect(client.answer.data).to eq(["10"])
      expect(callbacks(client)).to eq([:open])
    end

    it "is an event stream that ends, with all there is, an id at its end and a pause of its own" do
      client = poller(channel, headers: { "x-hello" => "yes" })
      response = client.poll.response
      expect(response["content-type"]).to eq("text/event-stream; charset=utf-8")
      expect(response.framing).to eq(:length)
      expect(response["cache-control"]).to eq("no-cache, no-store")
      expect(response["set-cookie"]).to match(/\Apoll=\d+\z/)
      publish(channel, "1", "2")
      answer = client.poll
      expect(answer.blocks.first.retry).to be_between(200, 500)
      expect(answer.data).to eq(%w[1 2]).or eq(["1"])
      # Clients that dispatch an event at each empty line show none but those of the ids.
      expect(answer.blocks.map { |block| block.data || block.id }).to all(be_a(String))
      last = answer.blocks.last
      expect(last.lines.size).to eq(1)
      expect(last.id).to match(/\A\h+-\d+\.\h{32}\.2\z/)
      expect(numbers([last.id])).to eq(numbers([answer.events.last.id]))
      expect(answer.response["set-cookie"]).to match(/\Apoll=\d+\z/)
    end

    it "opens once a session, with what on_open wrote and what was missed" do
      cursor = app.ask("PushServer.cursor")
      publish(channel, "1")
      client = poller(channel, cursor: cursor, headers: { "x-hello" => "yes" })
      events = client.poll.events
      expect(events.map { |it| [it.event, it.data] })
        .to eq([%w[hello hello], ["push.open", '{"recovered":true,"gap":[]}'], %w[msg 1]])
      publish(channel, "2")
      expect(client.poll.data).to eq(["2"])
      expect(ask(client, "[client.protocol, client.recovered?, client.last_event_id]")).to eq(["sse", true, cursor])
    end

    it "has what on_open writes and what it subscribes in one answer, every time" do
      channels = Array.new(20) { "kept-#{Serving.next_name}" }.join(",")
      firsts = Array.new(200) { poller(channels, headers: { "x-hello" => "yes" }).poll.events.map(&:event) }
      expect(firsts.tally).to eq(%w[hello push.open] => 200)
    end

    it "repeats an answer that did not arrive, also what no log keeps" do
      client = polling(loose = "loose-#{Serving.next_name}")
      let_in(client)
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

    it "is answered with no more than its id when there is nothing to say, over a connection that is kept" do
      client = polling(channel)
      port = client.connection.socket.local_address.ip_port
      answer = client.poll(wait: 0.05)
      expect(answer.events).to eq([])
      expect(answer.response.body).to match(/\Aretry: \d+\n:\nid: \S+\n\n\z/)
      expect(client.poll(wait: 0).events).to eq([])
      publish(channel, "1")
      expect(client.poll.data).to eq(["1"])
      expect(client.connection.socket.local_address.ip_port).to eq(port)
    end

    it "moves its cursor on with the log, so that a quiet channel's client can come back after long" do
      client = polling(channel)
      publish("kept-other", *"1".."5")
      cursor = client.poll(wait: 0).ids.last
      expect(numbers([cursor])).to eq(numbers([app.ask("PushServer.cursor")]))
    end

    it "waits as long as Prefer: says" do
      client = poller(channel, query: "q=1", headers: { "prefer" => "respond-async, wait=0.05" })
      expect(client.poll.events.map(&:event)).to eq(["push.open"])
      expect(client.poll.comments).to eq([""])
    end

    it "answers the older of two polls when a newer one of its session comes" do
      older = polling(channel)
      newer = poller(channel)
      newer.instance_variable_set(:@cursor, cursor = older.cursor)
      let_in(older)
      newer.ask(target: "/#{channel}?#{older.id}")
      answer = older.answer
      expect(answer.events).to eq([])
      expect(answer.ids).to eq([cursor])
      publish(channel, "1")
      expect(newer.answer.data).to eq(["1"])
      expect(callbacks(older)).to eq([:open])
    end

    it "carries what is written, in order and without ids" do
      client = poller("", headers: { "x-hello" => "yes" })
      expect(client.poll.data).to eq(["hello"])
      event(:drained, client)
      expect(ask(client, "[client.write('a'), client.write('b', id: '7', event: nil), client.pending]")).to eq([true, true, 2])
      answer = client.poll
      expect(answer.events.map { |it| [it.event, it.data, it.id] }).to eq([["msg", "a", nil], [nil, "b", nil]])
      event(:drained, client)
      expect(ask(client, "client.pending")).to eq(0)
      let_in(client)
      ask(client, "client.write('c')")
      expect(client.answer.data).to eq(["c"])
    end

    it "brings bytes as base64" do
      client = polling(channel)
      app.ask("PushServer.publish(#{channel.inspect}, [0, 255, 10].pack('C*'))")
      expect(client.poll.events.first.to_h).to include(event: "push.binary", data: "AP8K")
    end

    it "announces a gap to who comes with a cursor that is too old, of another log, or none" do
      short = "short-#{Serving.next_name}"
      cursor = publish(short, "0")
      publish(short, *"1".."5")
      [cursor, "123-1", "nonsense"].each do |old|
        client = poller(short, cursor: old)
        open = client.poll.events.first
        expect(JSON.parse(open.data)).to eq("recovered" => false, "gap" => [short])
        event(:gap, client, channel: short)
      end
    end

    it "brings a long backlog in a few answers" do
      cursor = publish(channel, "0")
      publish("kept-long", *Array.new(100) { |number| number.to_s * 15_000 })
      client = poller("kept-long", cursor: cursor)
      answers = [client.poll]
      answers << client.poll until answers.sum { |answer| answer.events.size } > 100
      expect(answers.flat_map(&:data).drop(1)).to eq(Array.new(100) { |number| number.to_s * 15_000 })
      expect(answers.size).to be_between(2, 5)
    end

    it "is one member, whatever its polls do" do
      room = "room-#{Serving.next_name}"
      watcher = subscriber(SseClient, room)
      read_open(watcher)
      client = polling(room, headers: { "x-member" => "ana" })
      expect(watcher.read_event.to_h).to include(event: "push.join")
      let_in(client).lose
      3.times { client.poll(wait: 0) }
      expect(app.ask("PushServer.present(#{room.inspect}).keys")).to eq(["ana"])
      publish(room, "next")
      expect(watcher.read_event.data).to eq("next")
    end

    it "ends its session when the app says no" do
      [[401, {}, ["no"]], [200, {}, ["no handler"]], [302, { "location" => "/" }, []]].each do |answer|
        client = polling(channel)
        refuse(answer)
        expect(client.poll.status).to eq(answer.first)
        expect(event(:close, client)).to include(code: nil)
        refuse(nil)
        publish(channel, "1")
        events = client.poll.events
        expect(events.map(&:event)).to eq(%w[push.open msg])
        expect(JSON.parse(events.first.data)).to eq("recovered" => true, "gap" => [])
        event(:open, client)
        expect(callbacks(client)).to eq(%i[open close open])
      end
    ensure
      refuse(nil)
    end

    it "answers the poll that waits when another one of the session is refused" do
      client = polling(channel)
      other = poller(channel)
      other.instance_variable_set(:@cursor, client.cursor)
      let_in(client)
      refuse([403, {}, []])
      expect(other.poll(target: "/#{channel}?#{client.id}").status).to eq(403)
      expect(client.answer.ids.last).to match(/\A\h+-\d+\z/)
      event(:close, client)
    ensure
      refuse(nil)
    end

    it "goes on with a session only where that began, and only with its token" do
      client = polling("#{channel},secret")
      cursor = client.cursor
      strangers = { "/#{channel}?#{client.id}" => cursor, "/#{channel},secret?#{client.id}&more" => cursor,
                    "/#{channel},secret?#{client.id}" => cursor.sub(/\.\h+/, ".#{"0" * 32}") }
      strangers.each do |target, id|
        stranger = poller(channel, cursor: id)
        expect(stranger.poll(target: target).events.map(&:event)).to eq(["push.open"])
      end
      expect(app.events.all(event: "close", id: client.id)).to eq([])
      expect(client.poll(wait: 0).events).to eq([])
      expect(numbers([client.cursor])).to eq(numbers([cursor]))
    end

    # What a user does who has found the id of another user's session in a log.
    it "goes on with a session only for its owner, if the app has named one" do
      client = polling(channel, headers: { "x-owner" => '"u7"' })
      cursor = client.cursor
      ask(client, "client.write('for u7 alone')")
      publish(channel, "for all")
      ['"u8"', "nil", "7", '""', '"u7 "', ":u70"].each do |owner|
        stranger = poller(channel, cursor: cursor, headers: { "x-owner" => owner })
        events = stranger.poll(target: "/#{channel}?#{client.id}").events
        expect(events.map { |it| [it.event, it.data] }).to eq([["push.open", '{"recovered":true,"gap":[]}'], ["msg", "for all"]])
        expect(stranger.cursor[/\.\h{32}/]).not_to eq(cursor[/\.\h{32}/])
      end
      # Its owner has not noticed.
      expect(client.poll.data).to contain_exactly("for u7 alone", "for all")
      expect(app.events.all(event: "close", id: client.id)).to eq([])
    end

    it "ends when the app refuses a poll of its owner or of none, not when it refuses one of another owner" do
      ['"u7"', "nil"].each do |owner|
        client = polling(channel, headers: { "x-owner" => '"u7"' })
        refuse([403, {}, []])
        stranger = poller(channel, cursor: client.cursor, headers: { "x-owner" => '"u8"' })
        expect(stranger.poll(target: "/#{channel}?#{client.id}").status).to eq(403)
        refuse(nil)
        ask(client, "client.write('still here')")
        expect(client.poll.data).to eq(["still here"])
        refuse([403, {}, []])
        expect(client.poll(headers: { "x-owner" => owner }).status).to eq(403)
        event(:close, client)
        refuse(nil)
      end
    ensure
      refuse(nil)
    end

    it "takes a String, a Symbol or an Integer for an owner, and false for none" do
      [[":u7", '"u7"'], ["7", '"7"'], ["false", "nil"]].each do |first, second|
        client = polling(channel, headers: { "x-owner" => first })
        answer = client.poll(wait: 0, headers: { "x-owner" => second })
        expect([answer.status, answer.events]).to eq([200, []])
        expect(ask(client, "client.env.key?('push_server.session_owner')")).to be(false)
      end
    end

    it "begins another session when the app no longer names an owner" do
      client = polling(channel, headers: { "x-owner" => '"u7"' })
      answer = client.poll(headers: { "x-owner" => "nil" })
      expect(answer.events.map(&:event)).to eq(["push.open"])
    end

    it "answers 500 if the owner is of another class" do
      client = poller(channel, headers: { "x-owner" => "Object.new" })
      expect(client.poll.status).to eq(500)
      eventually("the log to say why") { app.output.include?("env['push_server.session_owner'] must be a String") }
      expect(app.events.all(event: "open", id: client.id)).to eq([])
    end

    it "does not go back to an id that its client has gone past" do
      client = polling(channel)
      old = client.cursor
      2.times { client.poll(wait: 0) }
      other = poller(channel, cursor: old)
      expect(other.poll(target: "/#{channel}?#{client.id}").events.map(&:event)).to eq(["push.open"])
      expect(client.poll(wait: 0).events).to eq([])
      expect(app.events.all(event: "close", id: client.id)).to eq([])
    end

    it "ends with what was said before the app closed it" do
      client = polling(channel)
      ask(client, "client.write('bye'); PushServer.publish(#{channel.inspect}, 'last'); client.close")
      expect(ask(client, "[client.open?, client.write('late')]")).to eq([false, false])
      answer = client.poll
      expect(answer.data).to match_array(%w[bye last])
      expect(answer.ids.last).to match(/\A\h+-\d+\z/)
      expect(event(:close, client)).to include(code: nil, reason: nil)
      expect(client.poll.events.map(&:event)).to eq(["push.open"])
    end

    it "tells a member that is disconnected" do
      client = polling("room-#{name = Serving.next_name}", headers: { "x-member" => name })
      client.poll(wait: 0)
      let_in(client)
      expect(app.ask("PushServer.disconnect(member: #{name.inspect})")).to eq(1)
      expect(client.answer.events.map(&:event)).to eq(["push.bye"])
      event(:close, client)
    end

    it "gives its cursor to another transport" do
      client = polling(channel)
      publish(channel, "1")
      stream = subscriber(SseClient, channel, since: client.cursor)
      expect(read_open(stream)).to eq(recovered: true, gap: [])
      expect(stream.read_event.data).to eq("1")
      expect(ask(stream, "client.last_event_id")).to eq(client.cursor[/\A[^.]+/])
    end

    it "is for event streams alone" do
      name = Serving.next_name
      response = get("/#{channel}?push_wait=0&#{name}")
      expect(response.status).to eq(200)
      expect(app.events.take(event: "call", id: "push_wait=0&#{name}")).to include(upgrade: nil)
      head = http.request("HEAD", "/?push_wait=25", { "accept" => "text/event-stream" })
      expect(head.status).to eq(200)
    end
  end

  context "with a short linger" do
    serve config, "--threads", "2", "--poll-linger", "1", "--poll-parameter", "wait_for"

    let(:channel) { "kept-#{Serving.next_name}" }

    it "is closed when no poll comes, and resumes as another" do
      client = polling(channel, query: "wait_for=25")
      expect(event(:close, client)).to include(code: nil, reason: nil)
      publish(channel, "1")
      events = client.poll.events
      expect(events.map(&:event)).to eq(%w[push.open msg])
      event(:open, client)
      expect(callbacks(client)).to eq(%i[open close open])
    end

    it "is closed when the poll that waits is lost, however" do
      ends = [:lose.to_proc, :close.to_proc, ->(client) { client.connection.finish_writing }]
      clients = [{}, { "upgrade" => "h2c" }].product(ends).map do |headers, loss|
        client = polling(channel, query: "wait_for=25", headers: headers)
        loss.call(let_in(client))
        client
      end
      clients.each { |client| expect_event(:close, client) }
    end

    it "stays while a poll waits, and while the app is asked" do
      client = polling(channel, query: "wait_for=25")
      other = polling(channel, query: "wait_for=25")
      app.ask("$gate = Thread::Queue.new; nil")
      client.ask
      # Both would end by now: the one that nobody asks for shows it.
      event(:close, other)
      app.ask("$gate << true; $gate = nil")
      publish(channel, "1")
      expect(client.answer.data).to eq(["1"])
      expect(callbacks(client)).to eq([:open])
      expect(client.poll(target: "/#{channel}?wait_for=1.5&#{client.id[/c\d+\z/]}").events).to eq([])
      publish(channel, "2")
      expect(client.poll.data).to eq(["2"])
    end
  end

  context "with low limits" do
    serve config, "--threads", "1", "--max-connections", "4", "--max-poll-wait", "0.05", "--slow-bytes", "1000",
          "--slow-timeout", "0.1", "--max-queued-bytes", "5000"

    it "waits no longer than it may" do
      client = polling("kept-wait")
      expect(client.poll(wait: 3600).events).to eq([])
    end

    it "ends the session that was left first when there are too many" do
      clients = Array.new(5) do |number|
        client = polling("kept-#{number}")
        client.close
        client
      end
      event(:close, clients.first)
      expect(clients.drop(1).map { |client| callbacks(client) }).to all(eq([:open]))
    end

    it "closes who is left with too much, written or published" do
      client = polling("kept-slow")
      expect(ask(client, "Array.new(3) { client.write('x' * 3000) }")).to eq([true, false, false])
      event(:close, client)
      client = polling("kept-slow")
      publish("kept-slow", "x" * 3000)
      event(:close, client)
      expect(client.poll.events.map { |it| [it.event, it.data.size] }.last).to eq(["msg", 3000])
    end
  end

  context "when the server stops" do
    before { start_app(config, "--poll-linger", "3600", "--access-log", "common", "--access-log-file", "access.log") }

    it "answers who waits, waits for nobody, and has logged each poll" do
      waiting = polling("kept")
      left = polling("kept")
      let_in(waiting)
      app.signal("TERM")
      expect(waiting.answer.ids.last).to match(/\A\h+-\d+\z/)
      dir = app.dir
      [waiting, left].each { |client| event(:close, client) }
      lines = eventually("three lines") { File.readlines(File.join(dir, "access.log")).then { |all| all if all.size >= 3 } }
      expect(app.wait).to be_success
      [waiting, left].each { |client| expect(callbacks(client)).to eq(%i[open shutdown close]) }
      expect(lines.size).to eq(3)
      expect(lines).to all(match(%r{"GET /kept\?push_wait=25&c\d+ HTTP/1.1" 200 \d+$}))
    end
  end
end
