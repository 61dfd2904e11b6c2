# frozen_string_literal: true

require "spec_helper"

# The members of a channel. A member with several clients is listed once, and stays for presence_linger.
RSpec.describe "Presence" do
  include ChannelClients

  config = <<~'CONFIG'
    require "spec_app"

    PushServer.channel "room*", presence: true

    class Member < SpecApp::Recorder
      def on_open(client)
        room, name = client.env["PATH_INFO"].split("/").last(2)
        client.subscribe(room, member: name, info: { name: name.capitalize })
        super
      end
    end

    run(lambda do |env|
      env["rack.upgrade"] = Member.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  let(:room) { "room-#{Serving.next_name}" }

  def join(name, kind = SseClient) = subscribed(kind, "#{room}/#{name}")

  def read_notice(client)
    block = client.read_event
    [block.event, JSON.parse(block.data, symbolize_names: true).except(:channel)]
  end

  def present = app.ask("PushServer.present(#{room.inspect})")

  context "with --presence-linger 0" do
    serve config, "--presence-linger", "0"

    it "lists a client as the member that it has subscribed as last" do
      watcher = join("watcher")
      read_notice(watcher)
      guest = join("guest")
      expect(read_notice(watcher)).to eq(["push.join", { member: "guest", info: { name: "Guest" } }])
      ask(guest, "client.subscribe(#{room.inspect}, member: 'ana')")
      expect(read_notice(watcher)).to eq(["push.join", { member: "ana", info: nil }])
      expect(read_notice(watcher)).to eq(["push.leave", { member: "guest" }])
      expect(present.keys).to contain_exactly(:ana, :watcher)
    end

    it "sends clients the members and each one that joins or leaves; three tabs are one member" do
      watcher = join("watcher", PushV1Client)
      expect(read_notice(watcher)).to eq(["push.here", { members: { watcher: { name: "Watcher" } } }])
      tabs = Array.new(3) { join("ana") }
      expect(read_notice(watcher)).to eq(["push.join", { member: "ana", info: { name: "Ana" } }])
      expect(read_notice(tabs.last)).to eq(["push.here", { members: { ana: { name: "Ana" }, watcher: { name: "Watcher" } } }])
      expect(present).to eq(ana: { name: "Ana" }, watcher: { name: "Watcher" })
      tabs.first(2).each do |tab|
        tab.close
        event(:close, tab)
      end
      publish(room, "still here")
      expect(watcher.read_event.data).to eq("still here")
      tabs.last.close
      expect(read_notice(watcher)).to eq(["push.leave", { member: "ana" }])
      expect(present).to eq(watcher: { name: "Watcher" })
    end
  end

  context "with --presence-linger 3600" do
    serve config, "--presence-linger", "3600"

    it "does not report a member that leaves and comes back within the linger" do
      watcher = join("watcher")
      read_notice(watcher)
      ana = join("ana")
      expect(read_notice(watcher).first).to eq("push.join")
      ana.close
      event(:close, ana)
      expect(present.keys).to eq(%i[ana watcher])
      join("ana")
      publish(room, "no news")
      expect(watcher.read_event.data).to eq("no news")
    end

    it "removes a disconnected member, and tells its clients not to reconnect" do
      other = join("other")
      read_notice(other)
      streams = [join("ana"), join("ana", PushV1Client)]
      streams.each { |client| read_notice(client) }
      expect(app.ask("PushServer.disconnect(member: 'ana')")).to eq(2)
      expect(streams.map { |client| client.read_event.event }).to eq(%w[push.bye push.bye])
      expect(streams.first.ending).to eq(:fin)
      expect(streams.last.read_close).to eq([1008, "disconnected"])
      expect(read_notice(other).first).to eq("push.join")
      publish(room, "alone")
      expect(other.read_event.data).to eq("alone")
    end

    it "tells a disconnected member so last, after what was published before" do
      streams = [join("ana"), join("ana", PushV1Client)]
      streams.each { |client| read_notice(client) }
      app.ask("PushServer.publish(#{room.inspect}, 'before'); PushServer.disconnect(member: 'ana')")
      streams.each { |client| expect(Array.new(2) { client.read_event.event }).to eq(%w[msg push.bye]) }
    end

    it "is not needed for disconnect, which also works on channels without presence" do
      clients = [SseClient, PushV1Client].map { |kind| subscribed(kind, "private-#{room}/ana") }
      left = subscriber(WebSocketClient, "private-#{room}/ana")
      expect(app.ask("PushServer.present('private-#{room}')")).to eq({})
      expect(ask(left, "client.unsubscribe('private-#{room}')")).to be(true)
      expect(app.ask("PushServer.disconnect(member: 'ana')")).to eq(2)
      expect(clients.map { |client| client.read_event.event }).to eq(%w[push.bye push.bye])
      clients.each { |client| event(:close, client) }
      expect(app.ask("PushServer.disconnect(member: 'ana')")).to eq(0)
    end
  end
end
