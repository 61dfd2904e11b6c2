# frozen_string_literal: true

require "spec_helper"
require "json"

# PushServer.disconnect(member:) in processes that serve nobody: consoles, jobs, forked children. docs/publishing.md.
RSpec.describe "Disconnecting a member from a process without a server", transport: :tcp do
  include Command

  # A path is /room/member. A request to /fork/member disconnects the member in a forked child.
  source = <<~'CONFIG'
    require "push_server"
    require "spec_app"
    require "forked_child"

    PushServer.channel "watched", presence: true

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        _, room, member = client.env["PATH_INFO"].split("/")
        client.subscribe(room, member: member)
        SpecApp.remember(client)
        SpecApp.report(:subscribed, client, pid: Process.pid)
      end
    end

    run(lambda do |env|
      _, verb, member = env["PATH_INFO"].split("/")
      next [200, {}, [JSON.generate(ForkedChild.run { PushServer.disconnect(member: member) })]] if verb == "fork"

      env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG
  development = { "RACK_ENV" => "development" }.freeze

  # In development, since in test one process has no socket if no option says so.
  settings = { env: development, files: { "tmp/.keep" => "" } }.freeze

  # Runs Ruby in the folder of the app.
  def outside(code, **how)
    run_command(RbConfig.ruby, "-rpush_server", "-rtimeout", "-e", code, dir: app.dir, **how)
  end

  # What it prints.
  def printed(code, **how)
    result = outside(code, **how)
    expect([result.err, result.status.success?]).to eq(["", true])
    result.out
  end

  def cluster? = !app.tree.hub.nil?

  def serving_pids = cluster? ? app.tree.workers.map(&:pid) : [app.pid]

  # A client of this process.
  def client_of(pid, kind, path)
    100.times do
      id = Serving.next_name
      client = closing(kind.new(app.address, "#{path}?#{id}", id: id))
      return client if event(:subscribed, client)[:pid] == pid

      client.close
    end
    raise "no client of the process #{pid}"
  end

  # An event stream, a WebSocket with push.v1 and a plain one, in each process that serves.
  def clients_of(member, room: "room")
    serving_pids.product([SseClient, PushV1Client, WebSocketClient]).map { |pid, kind| client_of(pid, kind, "/#{room}/#{member}") }
  end

  # Waits until each client is told not to come back, and its connection ends.
  def expect_dismissed(clients)
    clients.each do |client|
      next expect_dismissed_stream(client) if client.is_a?(SseClient)

      read_bye(client) if client.is_a?(PushV1Client)
      expect(client.read_close).to eq([1008, "disconnected"])
      # The server would wait for the client's side.
      client.close
    end
    clients.each { |client| expect_event(:close, client) }
  end

  def expect_dismissed_stream(client)
    read_bye(client)
    expect(client.ending).to eq(:fin)
  end

  def read_bye(client)
    nil until client.read_event.event == "push.bye"
  end

  def expect_served(client)
    printed("PushServer.publish('room', 'for the others')")
    expect(client.read_message).to eq("for the others")
  end

  def complaint(result)
    expect(result.status).not_to be_success
    result.err[/\A.*?: (.*) \(PushServer::EngineUnavailable\)$/, 1]
  end

  { "one process" => [], "two workers" => %w[-w 2] }.each do |name, options|
    context "with a server of #{name}" do
      serve source, *options, "--presence-linger", "0", **settings

      before { app.wait_for_line(/All 2 workers serve/) if options.any? }

      it "closes all clients of the member, over each transport and in each process, and no others" do
        clients, other = clients_of("ana"), client_of(serving_pids.first, WebSocketClient, "/room/ben")
        poll = poller("/room/ana")
        poll.poll
        poll.ask
        expect(printed("p PushServer.disconnect(member: 'ana')")).to eq("0\n")
        expect_dismissed(clients)
        expect(poll.answer.events.map(&:event)).to eq(["push.bye"])
        expect_event(:close, poll)
        expect_served(other)
      end

      it "works from a rake task, from a forked child of the app, and right before exit!" do
        other = client_of(serving_pids.last, WebSocketClient, "/room/ben")
        rakefile = "require 'push_server'\ntask(:ban) { PushServer.disconnect(member: :ana) }\n"
        {
          "rake" => -> { run_command(RbConfig.ruby, Gem.bin_path("rake", "rake"), "ban", files: { "Rakefile" => rakefile }, dir: app.dir) },
          "fork" => -> { expect(get("/fork/ana").body).to eq("0") },
          "exit!" => -> { outside("PushServer.disconnect(member: 'ana'); exit!(0)") }
        }.each_value do |way|
          clients = clients_of("ana")
          way.call
          expect_dismissed(clients)
        end
        expect_served(other)
      end

      it "keeps the order of a process: what it has published before still reaches the member, and then the end" do
        clients = clients_of("ana")
        other = client_of(serving_pids.first, WebSocketClient, "/room/ben")
        printed("PushServer.publish('room', 'before'); PushServer.disconnect(member: 'ana'); PushServer.publish('room', 'after')")
        clients.each do |client|
          next expect(client.read_message).to eq("before") if client.instance_of?(WebSocketClient)

          blocks = [client.read_event]
          blocks << client.read_event until blocks.last.event == "push.bye"
          # What was published after the disconnect may come while the client is being closed.
          expect(blocks.select { |block| block.event == "msg" }.map(&:data).first).to eq("before")
        end
        expect(Array.new(2) { other.read_message }).to eq(%w[before after])
      end

      it "makes the member leave a channel with presence" do
        watcher = client_of(serving_pids.first, SseClient, "/watched/ben")
        clients = clients_of("ana", room: "watched")
        printed("PushServer.disconnect(member: 'ana')")
        expect_dismissed(clients)
        # There may be other notices before, such as the leave of a client of the watcher's own name that was not needed.
        nil until watcher.read_event.then { |block| block.event == "push.leave" && JSON.parse(block.data)["member"] == "ana" }
      end

      it "does nothing for a member without clients, and refuses a name that is none" do
        expect(printed("p PushServer.disconnect(member: 'zoe'), PushServer.disconnect(member: 7)")).to eq("0\n0\n")
        expect(outside("PushServer.disconnect(member: [])").err).to match(/member.*\(TypeError\)/)
      end

      it "raises within the timeout if the server does not answer" do
        client = client_of(serving_pids.first, WebSocketClient, "/room/ana")
        pid = cluster? ? app.tree.hub.pid : app.pid
        Process.kill("STOP", pid)
        expect(complaint(outside("PushServer.disconnect(member: 'ana')"))).to match(/does not answer: (nothing was|the message was sent)/)
        expect(outside("Timeout.timeout(0.2) { PushServer.disconnect(member: 'ana') }").err).to include("Timeout::Error")
        Process.kill("CONT", pid)
        printed("PushServer.disconnect(member: 'ana')")
        expect(client.read_close.first).to eq(1008)
      ensure
        Process.kill("CONT", pid) if pid
      end
    end
  end

  it "is done by the next hub when the hub is killed" do
    start_app(source, "-w", "2", **settings)
    app.wait_for_line(/All 2 workers serve/)
    clients = clients_of("ana")
    hub = app.tree.hub.pid
    printed(<<~RUBY)
      #{Command::PATIENT}
      PushServer.publish("elsewhere", "x")
      Process.kill("KILL", #{hub})
      PushServer.disconnect(member: "ana")
    RUBY
    expect_dismissed(clients)
    expect(app.tree.hub.pid).not_to eq(hub)
  end

  it "says what to do if there is no server" do
    Dir.mktmpdir do |folder|
      result = run_command(RbConfig.ruby, "-rpush_server", "-e", "PushServer.disconnect(member: 'ana')", dir: folder)
      expect(complaint(result)).to match(/Start push_server in this folder; or set PUSH_SERVER_HUB|To publish from here, start/)
    end
  end

  it "stays in the process in test" do
    start_app(source, **settings)
    client = client_of(app.pid, WebSocketClient, "/room/ana")
    expect(printed("p PushServer.disconnect(member: 'ana')", env: { "RACK_ENV" => "test" })).to eq("0\n")
    expect_served(client)
  end
end
