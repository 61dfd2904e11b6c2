# frozen_string_literal: true

require "spec_helper"

# What is dropped when the memory of all channels is full, and in which order.
RSpec.describe "While the memory of channels is full, the server" do
  include ChannelClients

  config = <<~CONFIG + ChannelClients::APP
    require "push_server"
    PushServer.channel "quiet*", history: 10
    PushServer.channel "wide*", history: 100_000
    PushServer.channel "drop*", slow: :drop
  CONFIG

  # About 60 of the messages of `flood` fill it. A reader that reads a little now and then is never stalled.
  serve config, "--threads", "2", "--channel-memory", "8MiB", "--ping-interval", "3600"

  def quiet(count) = Array.new(count) { |number| "quiet-#{@run}-#{number}" }

  # Gives each quiet channel three messages; returns the cursor before them.
  def fill(channels)
    cursor = app.ask("PushServer.cursor")
    app.ask("#{channels.inspect}.each { |name| 3.times { |number| PushServer.publish(name, \"\#{name} \#{number}\") } }; nil")
    cursor
  end

  # Expects that a client that resumes a quiet channel gets all three.
  def expect_complete(channels, cursor)
    channels.each do |name|
      client = subscriber(SseClient, name, since: cursor)
      expect(read_open(client)).to eq({ recovered: true, gap: [] }), name
      expect(read_data(client, 3)).to eq(Array.new(3) { |number| "#{name} #{number}" })
      client.close
    end
  end

  def flood(channel, numbers)
    app.ask("(#{numbers}).each { |number| PushServer.publish(#{channel.inspect}, \"\#{number} \".ljust(65_000, 'x')) }; nil")
  end

  # Publishes eight messages each turn. One reader reads all of them, the other a kilobyte.
  def trickle(channel, slow, healthy, turns: 40)
    turns.times do |turn|
      numbers = (turn * 8)...((turn + 1) * 8)
      flood(channel, numbers)
      expect(read_data(healthy, 8).map(&:to_i)).to eq(numbers.to_a)
      yield if slow.connection.take_from_kernel(1024) == :ended
    end
  end

  def stat(name) = app.ask("PushServer.stats[#{name.inspect}]")

  before { @run = Serving.next_name }

  it "closes the reader for which most messages wait, and no other" do
    cursor = fill(quiet(20))
    healthy = subscribed(SseClient, "busy-#{@run}")
    slow = subscribed(SseClient, "busy-#{@run}", receive_buffer: 4096)
    before = stat(:overruns)
    trickle("busy-#{@run}", slow, healthy) { nil }
    event(:close, slow)
    slow.ending
    expect(stat(:overruns)).to eq(before + 1)
    expect(story(healthy)).to eq([:open])
    expect_complete(quiet(20), cursor)
  end

  it "closes a slow reader of a pattern" do
    cursor = fill(quiet(20))
    healthy = subscribed(SseClient, "busy-#{@run}")
    slow = subscriber(PushV1Client, "", receive_buffer: 4096)
    ask(slow, "client.subscribe('busy-#{@run}*', match: :redis)")
    read_open(slow)
    trickle("busy-#{@run}", slow, healthy) { nil }
    event(:close, slow, code: 1013)
    expect_complete(quiet(20), cursor)
  end

  it "ends a session without polls, and tells its client about the gap" do
    cursor = fill(quiet(20))
    client = subscribed(PollClient, "busy-#{@run}")
    before = stat(:overruns)
    flood("busy-#{@run}", 0...200)
    event(:close, client)
    expect(stat(:overruns)).to eq(before + 1)
    expect(JSON.parse(client.poll.events.first.data)).to eq("recovered" => false, "gap" => ["busy-#{@run}"])
    expect_complete(quiet(20), cursor)
  end

  it "calls on_gap of a client whose block is slow, and goes on with new messages" do
    cursor = fill(quiet(20))
    client = subscriber(WebSocketClient, "")
    ask(client, "held = Queue.new; client[:held] = held; " \
                "client.subscribe('busy-#{@run}') { |_, data| held.pop unless held.closed?; SpecApp.report(:call, client, data: data[0, 20]) }")
    flood("busy-#{@run}", 0...200)
    publish("busy-#{@run}", "end")
    ask(client, "client[:held].close; nil")
    event(:gap, client, channel: "busy-#{@run}")
    publish("busy-#{@run}", "new")
    event(:call, client, data: "new")
    expect_complete(quiet(20), cursor)
  end

  it "skips messages for a slow reader with slow: :drop" do
    cursor = fill(quiet(20))
    healthy = subscribed(SseClient, "drop-#{@run}")
    slow = subscribed(PushV1Client, "drop-#{@run}", receive_buffer: 4096)
    trickle("drop-#{@run}", slow, healthy) { raise "it was closed" }
    publish("drop-#{@run}", "end")
    told = seen = 0
    until (block = slow.read_event).data == "end"
      block.event == "push.drop" ? told += JSON.parse(block.data)["count"] : seen += 1
    end
    expect([told, told + seen]).to match([be_positive, 320])
    expect_complete(quiet(20), cursor)
  end

  it "shortens the longest history, and keeps the last messages of quiet channels" do
    cursor = fill(quiet(20))
    flood("wide-#{@run}", 0...200)
    expect(stat(:channel_bytes)).to be <= 8 << 20
    kept = app.ask("PushServer.history('wide-#{@run}', limit: 1000).map { |it| it.data.to_i }")
    expect(kept).to eq([*kept.first..199])
    expect(kept.size).to be_between(20, 70)
    expect_complete(quiet(20), cursor)
  end

  it "closes no client for a burst, even if histories fill the memory" do
    flood("wide-#{@run}", 0...200)
    healthy = subscribed(SseClient, "burst-#{@run}")
    10.times do
      app.ask("2000.times { |number| PushServer.publish('burst-#{@run}', number.to_s) }; nil")
      expect(read_data(healthy, 2000)).to eq([*"0".."1999"])
    end
    expect(story(healthy)).to eq([:open])
  end
end
