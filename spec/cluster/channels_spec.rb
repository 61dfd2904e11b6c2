# frozen_string_literal: true

require "spec_helper"

# Messages of several workers have one order, whichever process dies.
RSpec.describe "Channels across workers", transport: :tcp do
  include ChannelClients

  app = <<~'CONFIG'
    require "json"
    require "spec_app"

    PushServer.channel "kept*", history: 10_000

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.env["PATH_INFO"].delete_prefix("/").split(",").each { |channel| client.subscribe(channel) }
        SpecApp.report(:subscribed, client, pid: Process.pid)
      end

      def on_message(client, data) = client.write(data)

      def on_close(client, *)
        PushServer.publish("kept-bye", "bye") if client.env["PATH_INFO"] == "/leaving"
      end
    end

    answer = lambda do |env|
      _, verb, channel, count, text = env["PATH_INFO"].split("/")
      case verb
      when nil then Process.pid
      when "publish" then Array.new(Integer(count)) { |n| PushServer.publish(channel, "#{text}#{n}") }.last
      when "forget" then Array.new(Integer(count)) { |n| PushServer.publish(channel, "#{text}#{n}") } && nil
      when "history" then PushServer.history(channel, limit: 20_000).map(&:data).join(",")
      when "cursor" then PushServer.cursor
      when "deflations" then PushServer.stats.fetch(:deflations)
      when "long" then PushServer.publish(channel, "x" * Integer(count)).to_s
      end
    end

    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = Subscriber.new
        next [200, {}, []]
      end
      [200, {}, [answer.call(env).to_s]]
    rescue PushServer::EngineUnavailable, ArgumentError => e
      [503, {}, ["#{e.class}: #{e.message}"]]
    end)
  CONFIG

  # A client with an event stream of this worker, which has read its push.open. Returns it and that.
  def subscriber_on(pid, channels, since: nil, kind: SseClient)
    100.times do
      client = unopened(kind, channels, since: since)
      return client if event(:subscribed, client)[:pid] == pid

      client.reset
    end
    raise "no stream of the worker #{pid}"
  end

  def subscribed_on(pid, channels, **options)
    subscriber_on(pid, channels, **options).tap { |client| read_open(client) }
  end

  def texts(text, count) = Array.new(count) { |n| "#{text}#{n}" }

  it "brings a message of one worker to the clients of all, each with the cursor that publish has returned" do
    start_cluster(app)
    clients = workers.values.map { |pid| subscribed_on(pid, "room,kept") }

    workers.values.flat_map { |pid| [[pid, "room"], [pid, "kept"]] }.each do |pid, channel|
      cursor = http_on(pid).get("/publish/#{channel}/1/from-#{pid}-").body
      blocks = clients.map(&:read_event)
      expect(blocks.map(&:data)).to all(eq("from-#{pid}-0"))
      expect(blocks.map(&:id)).to all(eq(cursor))
      expect(http_on(pid).get("/cursor").body).to eq(cursor)
    end
  end

  it "compresses a long message once in each worker" do
    start_cluster(app, "--websocket-compression")
    clients = workers.values.flat_map { |pid| Array.new(2) { subscriber_on(pid, "room", kind: DeflateClient) } }
    publisher = http_on(workers.values.first)
    %w[/long/room/300000 /publish/room/1/short /long/room/20000].each { |path| publisher.get(path) }
    clients.each do |client|
      expect(Array.new(3) { client.read_message }).to eq(["x" * 300_000, "short0", "x" * 20_000])
      expect(client.compressed_messages).to eq(2)
    end
    expect(workers.values.map { |pid| http_on(pid).get("/deflations").body }).to eq(%w[2 2])
  end

  it "says why the hub has refused a message, and publishes the next one" do
    start_cluster(app, "--channel-memory", (256 << 10).to_s)
    client = subscribed_on(workers.values.first, "room")
    connection = http_on(workers.values.last)

    response = connection.get("/long/room/#{64 << 10}")
    expect([response.status, response.body]).to eq(
      [503, "ArgumentError: the message is longer than the server accepts: see channel_memory"]
    )
    cursor = connection.get("/publish/room/1/next").body
    expect(client.read_event).to have_attributes(data: "next0", id: cursor)
  end

  it "has one order of messages, and each author's own order in it" do
    start_cluster(app)
    clients = workers.values.map { |pid| subscribed_on(pid, "room") }
    publishers = workers.values.zip(%w[a b]).map { |pid, name| [http_on(pid), name] }
    publishers.each { |connection, name| connection.send_request("GET", "/publish/room/300/#{name}") }
    publishers.each { |connection, _| expect(connection.read_response.status).to eq(200) }

    all = clients.map { |client| Array.new(600) { client.read_event.data } }
    expect(all.first).to eq(all.last)
    expect(all.first.group_by { |text| text[0] }).to eq("a" => texts("a", 300), "b" => texts("b", 300))
  end

  it "serves history, and clients that come back, in any worker" do
    start_cluster(app)
    first, second = workers.values
    client = subscribed_on(first, "kept")
    http_on(second).get("/publish/kept/10/x")
    seen = Array.new(4) { client.read_event }.last
    client.reset

    workers.each_value { |pid| expect(http_on(pid).get("/history/kept").body).to eq(texts("x", 10).join(",")) }
    client = subscriber_on(second, "kept", since: seen.id)
    expect(read_open(client)).to eq(recovered: true, gap: [])
    expect(read_data(client, 6)).to eq(texts("x", 10).last(6))
  end

  [%w[--preload], %w[--no-preload]].each do |switches|
    it "keeps what the rules of the newest code say: #{switches.first}" do
      start_cluster(app, *switches)
      first, second = workers.values
      http_on(first).get("/publish/kept/3/x")
      http_on(first).get("/publish/other/3/x")
      expect(%w[kept other].map { |name| http_on(second).get("/history/#{name}").body }).to eq(["x0,x1,x2", ""])

      File.write(File.join(app_folder, "config.ru"), app.sub("kept*", "[ko]*"))
      self.app.signal("USR1")
      expect_new_workers([1, 2], before: [first, second])
      first, second = workers.values
      http_on(first).get("/publish/other/3/y")
      expect(%w[kept other].map { |name| http_on(second).get("/history/#{name}").body }).to eq(["x0,x1,x2", "y0,y1,y2"])
      # The hub has it, too.
      Process.kill("KILL", second)
      expect_new_workers([1, 2], before: [second])
      expect(%w[kept other].map { |name| http_on(workers[2]).get("/history/#{name}").body }).to eq(["x0,x1,x2", "y0,y1,y2"])
    end
  end

  def app_folder = self.app.dir

  it "gives a new worker what the channels have kept, before it serves" do
    start_cluster(app)
    first, second = workers.values
    cursor = http_on(first).get("/publish/kept/5/x").body
    http_on(first).get("/publish/kept/5/y")
    Process.kill("KILL", first)
    expect_eventually("another worker 1") { (now = workers)[1] && now[1] != first && answering.size == 2 }

    expect(http_on(workers[1]).get("/history/kept").body).to eq((texts("x", 5) + texts("y", 5)).join(","))
    client = subscriber_on(workers[1], "kept", since: cursor)
    expect(read_open(client)).to eq(recovered: true, gap: [])
    expect(read_data(client, 5)).to eq(texts("y", 5))
    http_on(second).get("/publish/kept/1/z")
    expect(client.read_event.data).to eq("z0")
  end

  it "tells of a gap, or loses nothing, when the hub and a worker die together" do
    start_cluster(app, "--publish-timeout", "15")
    first, second = workers.values
    client = subscribed_on(second, "kept")
    publishers = [http_on(first), http_on(second)].zip(%w[a b])
    publishers.each { |connection, name| connection.send_request("GET", "/forget/kept/3000/#{name}") }
    Process.kill("STOP", app_pid = self.app.pid)
    kill_hub
    Process.kill("KILL", first)
    Process.kill("CONT", app_pid)
    expect(publishers.last.first.read_response.status).to eq(200)
    expect_new_workers([1, 2], before: [first])
    http_on(workers[1]).get("/publish/kept/1/last")

    blocks = [client.read_block]
    blocks << client.read_block until blocks.last.data == "last0"
    gaps = blocks.count { |block| block.event == "push.gap" }
    seen = blocks.filter_map(&:data).grep(/\A[ab]/).group_by { |text| text[0] }
    expect(seen.values.map(&:uniq)).to eq(seen.values)
    next if gaps.positive?

    expect(seen["b"]).to eq(texts("b", 3000))
    expect(seen.fetch("a", [])).to eq(texts("a", seen.fetch("a", []).size))
  end

  it "delivers each message once and in order while hubs are killed" do
    start_cluster(app, "--publish-timeout", "15")
    clients = workers.values.map { |pid| subscribed_on(pid, "kept") }
    publishers = workers.values.zip(%w[a b]).map { |pid, name| [http_on(pid), name] }
    5.times do |round|
      publishers.each { |connection, name| connection.send_request("GET", "/publish/kept/1500/#{name}#{round}-") }
      killed = kill_hub
      publishers.each { |connection, _| expect(connection.read_response.status).to eq(200) }
      expect_another_hub(killed)
    end

    expected = %w[a b].to_h { |name| [name, Array.new(5) { |round| texts("#{name}#{round}-", 1500) }.flatten] }
    all = clients.map { |client| Array.new(15_000) { client.read_block } }
    expect(all.flatten.map(&:event).uniq).to eq(["msg"]) # and no push.gap
    orders = all.map { |blocks| blocks.map(&:data) }
    expect(orders.first).to eq(orders.last)
    expect(orders.first.group_by { |text| text[0] }).to eq(expected)
  end

  it "raises EngineUnavailable when the hub takes no messages for publish_timeout, and serves on meanwhile" do
    start_cluster(app, "--publish-timeout", "1", "--publish-queue", "10", "--threads", "1")
    first, second = workers.values
    client, socket = subscribed_on(second, "room"), subscriber_on(first, "other", kind: WebSocketClient)
    connection = http_on(first)
    kill_hub("STOP")
    connection.send_request("GET", "/forget/room/11/x")
    # The only thread of the worker waits, and the reactor serves.
    socket.send_frame(:ping, "still there")
    expect(socket.read_frame.payload).to eq("still there")
    response = connection.read_response
    expect([response.status, response.body])
      .to eq([503, "PushServer::EngineUnavailable: the channels' engine takes no messages for now"])
    response = connection.get("/cursor")
    expect([response.status, response.body]).to match([503, /EngineUnavailable: a message of this process has no number yet/])
    kill_hub("CONT")

    expect(read_data(client, 10)).to eq(texts("x", 10))
    expect(connection.get("/publish/room/1/y").status).to eq(200)
    expect(client.read_event.data).to eq("y0")
  end

  it "gives a worker that was suspended what it has missed: no gap in a channel with history; in others, clients are told" do
    start_cluster(app)
    first, second = workers.values
    client, other = subscribed_on(first, "kept"), subscribed_on(first, "room")
    connection = http_on(second)
    Process.kill("STOP", first)
    # More than its socket holds. The rest comes after the hub has given it up.
    long = "x" * 1000
    3.times { connection.get("/forget/kept/1000/#{long}") && connection.get("/forget/room/500/#{long}") }
    Process.kill("CONT", first)

    expect(read_data(client, 3000)).to eq(texts(long, 1000) * 3)
    connection.get("/publish/room/1/last")
    blocks = [other.read_block]
    blocks << other.read_block until blocks.last.data == "last0"
    unless blocks.any? { |block| block.event == "push.gap" }
      expect(blocks.map(&:data)).to eq([*texts(long, 500) * 3, "last0"])
    end
  end

  it "delivers what a worker publishes as it ends to the clients of other workers" do
    start_cluster(app)
    first, second = workers.values
    client = subscribed_on(second, "kept-bye")
    subscriber_on(first, "leaving")
    Process.kill("TERM", first)

    expect(client.read_event.data).to eq("bye")
  end
end
