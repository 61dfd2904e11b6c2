# frozen_string_literal: true

require "spec_helper"

# Channels belong to a process, which need not be a server.
RSpec.describe "The channels of a process" do
  include Command
  include ChannelClients

  # Messages stay in the process.
  def ruby(code) = run_command(RbConfig.ruby, "-rpush_server", "-rjson", "-e", code, env: { "PUSH_SERVER_HUB" => "self" })

  FORKED_CHILD = "require #{File.expand_path("../support/app/forked_child", __dir__).inspect}\n".freeze

  it "work without a server" do
    result = ruby(<<~'RUBY')
      PushServer.channel "a", history: 2
      before = PushServer.cursor
      PushServer.publish("a", "early")
      threads = Array.new(8) { Thread.new { 1000.times { PushServer.publish("a", "x") } } }
      threads.each(&:join)
      PushServer.publish("a", "late")
      p PushServer.history("a").map(&:data), PushServer.channels, PushServer.present("a"), PushServer.cursor == before,
        PushServer.cursor.to_s[/\d+\z/], PushServer.stats
    RUBY
    expect(result.out.lines.map(&:chomp)).to eq(['["x", "late"]', '["a"]', "{}", "false", '"8002"', "{}"]), result.err
  end

  it "keep what was published before the server has started" do
    start_app("require 'push_server'\nPushServer.channel 'a', history: 9\nCURSOR = PushServer.publish('a', '1')\n" \
              "PushServer.publish('a', '2')\n" + ChannelClients::APP)
    client = closing(SseClient.new(app.address, "/a?x", id: "x", headers: { "last-event-id" => app.ask("CURSOR") }))
    expect(read_open(client)).to eq(recovered: true, gap: [])
    expect(client.read_event.to_h).to include(event: "msg", data: "2")
    client.close
    expect(app.stop).to be_success
  end

  it "are separate in a child that is forked without a server, with the same rules" do
    result = ruby("#{FORKED_CHILD}
      PushServer.channel 'a', history: 2
      PushServer.publish('a', 'in the parent')
      p ForkedChild.run { PushServer.publish('a', 'in the child'); PushServer.history('a').map(&:data) }
      p PushServer.history('a').map(&:data)")
    expect(result.out.lines.map(&:chomp)).to eq(['["in the child"]', '["in the parent"]']), result.err
  end

  context "that serves, in a forked child" do
    serve FORKED_CHILD + ChannelClients::APP, "--threads", "2"

    it "cannot be used, except to publish to a server and to disconnect its clients" do
      client = subscribed(SseClient, "a")
      {
        "PushServer.channel('a', history: 1)" => /forked/, "PushServer.history('a')" => /only publish, cursor and disconnect work here/,
        "PushServer.present('a')" => /has no server/, "PushServer.channels" => /has no server/
      }.each do |code, message|
        type, text = ask(client, "ForkedChild.run { #{code} }")
        expect([type, text]).to match(["PushServer::Error", message]), code
      end
      # In test, a server has no publish socket if no option says so.
      ["PushServer.publish('a', 'x')", "PushServer.cursor", "client.publish('a', 'x')", "PushServer.disconnect(member: 'a')"].each do |code|
        type, text = ask(client, "ForkedChild.run { #{code} }")
        expect([type, text]).to match(["PushServer::EngineUnavailable", /has no publish socket/]), code
      end
      quiet = "[client.subscribe('b'), client.unsubscribe('a'), client.recovered?, client.pubsub?]"
      expect(ask(client, "ForkedChild.run { #{quiet} }")).to eq([false, false, nil, true])
      expect(ask(client, "ForkedChild.run { 3.times { GC.start }; 1 }")).to eq(1)
      publish("a", "1")
      expect(client.read_event.data).to eq("1")
    end

    it "do not block the child, even if it is forked while many threads publish" do
      clients = Array.new(20) { subscriber(SseClient, "a,b") }
      app.ask("STOP = []; STORM = Array.new(4) { Thread.new { (PushServer.publish(%w[a b].sample, 'x'); sleep 0.0001) while STOP.empty? } }; nil")
      answers = app.ask("Array.new(20) { ForkedChild.run { SpecApp.clients.each { |it| it.subscribe('c'); it.write('x') }; GC.start; 1 } }", seconds: 60)
      app.ask("STOP << 1; STORM.each(&:join); PushServer.publish('a', 'end'); nil")
      expect(answers.uniq).to eq([1])
      clients.each { |client| client.connection.read_until("data: end\n\n", seconds: 60) }
    end
  end
end
