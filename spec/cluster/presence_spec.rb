# frozen_string_literal: true

require "spec_helper"

# All workers have the same members, whichever process dies.
RSpec.describe "Presence across workers", transport: :tcp do
  include ChannelClients

  source = <<~'CONFIG'
    require "json"
    require "spec_app"

    PushServer.channel "room*", presence: true
    PushServer.channel "kept", history: 100

    class Member < SpecApp::Recorder
      def on_open(client)
        pid, room, name = client.env["PATH_INFO"].delete_prefix("/").split("/")
        here = pid == Process.pid.to_s
        client.subscribe(room, member: name, info: { name: name.capitalize }) if here
        SpecApp.report(:subscribed, client, here: here)
      end

      def on_message(client, data)
        if data.delete_prefix!("enter ")
          client.subscribe(data, member: "late")
          return client.write(PushServer.present(data).keys.join(","))
        end

        PushServer.publish("kept", data, except: client).to_s
        client.write("published")
      end
    end

    answer = lambda do |env|
      _, verb, name, text = env["PATH_INFO"].split("/")
      case verb
      when nil then Process.pid
      when "present" then JSON.generate(PushServer.present(name))
      when "publish" then PushServer.publish(name, text)
      when "disconnect" then PushServer.disconnect(member: name)
      end
    end

    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = Member.new
        next [200, {}, []]
      end
      [200, {}, [answer.call(env).to_s]]
    end)
  CONFIG

  # A client of this worker that is a member of the room. Its push.open is unread.
  def unread_member(pid, name, room: "room", kind: SseClient, **options)
    until_found("a stream of the worker #{pid}") do
      client = unopened(kind, "#{pid}/#{room}/#{name}", **options)
      next client if event(:subscribed, client)[:here]

      client.reset
      nil
    end
  end

  # The same, which has read its push.open and the members.
  def member(pid, name, kind: SseClient, **options)
    client = unread_member(pid, name, kind: kind, **options)
    return client if kind == WebSocketClient

    read_open(client)
    read_members(client)
    client
  end

  # The members that a new one is told of.
  def read_members(client)
    block = client.read_event
    expect(block.event).to eq("push.here")
    JSON.parse(block.data)["members"].keys
  end

  # The next event of a client: its name, and the member that it is about.
  def notice(client)
    block = client.read_event(seconds: 20)
    block.event.to_s.start_with?("push.") ? [block.event, JSON.parse(block.data)["member"]] : [block.event, block.data]
  end

  def leave(client)
    client.close
    event(:close, client)
  end

  def present_at(pid) = JSON.parse(http_on(pid).get("/present/room").body).keys

  def expect_present(*names)
    expect_eventually("the members #{names} at all workers", seconds: 20) do
      workers.values.all? { |pid| present_at(pid) == names }
    end
  end

  it "makes three tabs at three workers one member, which leaves after the last one" do
    start_cluster(source, "--presence-linger", "0.1", workers: 4)
    first, *others = workers.values
    watchers = [member(first, "watcher"), member(others.last, "watcher", kind: PushV1Client)]
    tabs = others.map { |pid| member(pid, "ana") }
    expect(watchers.map { |client| notice(client) }).to eq([["push.join", "ana"]] * 2)
    expect_present("ana", "watcher")
    bob = member(others.first, "bob")
    expect(watchers.map { |client| notice(client) }).to eq([["push.join", "bob"]] * 2)

    # Were these a leave, it would come before that of bob.
    tabs.first(2).each { |tab| leave(tab) }
    leave(bob)
    expect(watchers.map { |client| notice(client) }).to eq([["push.leave", "bob"]] * 2)
    leave(tabs.last)
    expect(watchers.map { |client| notice(client) }).to eq([["push.leave", "ana"]] * 2)
    expect_present("watcher")
  end

  it "has the members of a worker that was killed leave, unless they are back in time" do
    start_cluster(source, "--presence-linger", "1.5")
    first, second = workers.values
    watcher = member(first, "watcher")
    %w[ana bob].each do |name|
      member(second, name)
      expect(notice(watcher)).to eq(["push.join", name])
    end

    # The hub's clock stands while bob comes back, so the time for that does not count.
    kill_hub("STOP")
    Process.kill("KILL", second)
    bob = unread_member(first, "bob")
    read_open(bob)
    kill_hub("CONT")
    expect(read_members(bob)).to eq(%w[ana bob watcher])
    expect(notice(watcher)).to eq(["push.leave", "ana"])
    expect(notice(bob)).to eq(["push.leave", "ana"])
    expect_eventually("another worker") { (now = workers).size == 2 && !now.value?(second) }
    # The new worker gets the members with the log.
    expect_present("bob", "watcher")
    member(workers.values.last, "cleo")
    expect([watcher, bob].map { |client| notice(client) }).to eq([["push.join", "cleo"]] * 2)
  ensure
    kill_hub("CONT")
  end

  it "tells of no leave and of no second join when the hub has died" do
    start_cluster(source, "--presence-linger", "1")
    first, second = workers.values
    watcher = member(first, "watcher")
    ana, bob = %w[ana bob].map { |name| member(second, name).tap { expect(notice(watcher)).to eq(["push.join", name]) } }
    notice(ana)

    leave(bob)
    hub = kill_hub
    late = unread_member(second, "late")
    app.wait_for_line(/connected to the hub again/)
    expect(tree.hub.pid).not_to eq(hub)
    # What happened while there was no hub is told, and nothing else.
    told = [["push.join", "late"], ["push.leave", "bob"]]
    [watcher, ana].each { |client| expect([notice(client), notice(client)]).to match_array(told) }
    read_open(late)
    expect(read_members(late)).to include("ana", "late", "watcher")
    expect_present("ana", "late", "watcher")
  end

  it "shows a callback the client that it has just subscribed" do
    start_cluster(source, "--publish-timeout", "30")
    client = member(workers.values.first, "guest", room: "room-1", kind: WebSocketClient)
    20.times do |number|
      client.text("enter room-#{number + 2}")
      expect(client.read_message).to eq("late")
    end
    # While there is no hub, it waits for the next one.
    kill_hub
    client.text("enter room-22")
    expect(client.read_message).to eq("late")
  end

  it "closes the clients of a member at all workers" do
    start_cluster(source, workers: 3)
    watcher = member(workers.values.first, "watcher")
    kinds = [SseClient, PushV1Client, WebSocketClient]
    clients = workers.values.zip(kinds).map { |pid, kind| member(pid, "ana", kind: kind) }
    others = workers.values.map { |pid| member(pid, "bob", room: "room-2") }
    notice(watcher)

    # It counts those of its own worker.
    expect(http_on(workers.values[1]).get("/disconnect/ana").body).to eq("1")
    clients.each { |client| event(:close, client) }
    expect(clients.first(2).map { |client| notice(client).first }).to eq(%w[push.bye push.bye])
    expect(clients.last.read_close).to eq([1008, "disconnected"])
    http.get("/publish/room-2/still-here")
    expect(others.map { |client| notice(client).last }).to eq(%w[still-here] * 3)
  end

  it "closes the clients of a member at other workers, too, if the worker that was asked ends while there is no hub" do
    start_cluster(source, "--publish-timeout", "30")
    first, second = workers.values
    client = member(second, "ana", kind: WebSocketClient)
    connection = http_on(first)
    # The more often it has died, the later the next one is started.
    4.times { expect_another_hub(kill_hub) }
    kill_hub
    connection.get("/disconnect/ana")
    connection.close
    Process.kill("TERM", first)

    expect(client.read_close(seconds: 60)).to eq([1008, "disconnected"])
    expect_gone([first], seconds: 60)
    expect(app.output).not_to include("messages may be lost")
  end

  it "skips the client of except: and no other, also when its worker has been replaced" do
    start_cluster(source)
    first, second = workers.values
    # The first client of each worker.
    author = member(first, "author", room: "kept", kind: WebSocketClient)
    other = unread_member(second, "other", room: "kept")
    read_open(other)
    start = http_on(second).get("/publish/kept/start").body
    expect(author.read_message).to eq("start")
    author.text("news")
    expect(author.read_message).to eq("published")
    expect([notice(other).last, notice(other).last]).to eq(%w[start news])

    Process.kill("KILL", first)
    expect_eventually("another worker") { (now = workers).size == 2 && !now.value?(first) }
    # The first client of the worker that has taken the place.
    heir = unread_member((workers.values - [second]).first, "heir", room: "kept", since: start)
    expect(read_open(heir)[:gap]).to eq([])
    expect(notice(heir).last).to eq("news")
  end
end
