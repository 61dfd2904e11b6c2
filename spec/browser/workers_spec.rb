# frozen_string_literal: true

require "spec_helper"

# A page with push.js, while the workers that serve it are replaced, drained and killed. It has a connection for each transport, and
# shows each message once and in order.
RSpec.describe "push.js in a browser, with workers", transport: :tcp do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  transports = %w[websocket sse poll]

  page = <<~'HTML'
    <!DOCTYPE html>
    <meta charset="utf-8">
    <script type="module">
      import { push } from "/push.js"

      window.heard = []
      // Until each transport has connected.
      window.connect = () => Promise.all(%s.map((transport) => new Promise((connected) => {
        let visit = 0
        push("/events", {
          cursor: "%s", transports: [transport], longest: 1000,
          onnotice: ({ event }) => {
            if (event !== "push.open") return
            visit += 1
            connected()
          },
          ongap: ({ channels }) => heard.push({ transport, data: `gap on ${channels}` }),
          onmessage: ({ data }) => heard.push({ transport, data, visit })
        })
      })))
    </script>
  HTML

  source = <<~CONFIG
    require "push_server"
    PushServer.channel "kept", history: 10_000, ttl: nil

    module Subscriber
      def self.on_open(client) = client.subscribe("kept")
    end

    map("/push.js") { run PushServer::Javascript }
    run(lambda do |env|
      next [200, { "content-type" => "text/html" }, [format(#{page.dump}, #{transports.to_s.dump}, PushServer.cursor)]] unless env["rack.upgrade?"]

      env["rack.upgrade"] = Subscriber
      [200, {}, []]
    end)
  CONFIG

  # A process beside the server. It publishes all the time, and says so with each number. When it is told to end, it publishes once more:
  # what happened to clients before, they know by then.
  publisher = <<~'RUBY'
    require "push_server"
    $stdout.sync = true
    Signal.trap("TERM") { $stop = true }
    number = 0
    publish = lambda do
      PushServer.publish("kept", (number += 1).to_s, event: nil)
      puts number
    end
    until $stop
      publish.call
      sleep 0.02
    end
    publish.call
  RUBY

  before do
    start_app(source, "-w", 2, "--publish-timeout", 30, "--retry-min", 50, "--retry-max", 100, "--drain-timeout", 20)
    app.wait_for_line(/All 2 workers serve/)
    @script = Script.new("replay.js", app.url)
    @script.wait_for("ready")
    @publisher = IO.popen([{ "RUBYLIB" => File.join(AppProcess::ROOT, "lib") }, RbConfig.ruby, "-e", publisher,
                           { chdir: app.dir, err: %i[child out] }])
    expect(@publisher.gets).to eq("1\n")
    tell("connect")
  end

  after do
    @script&.stop
    next if @publisher.nil? || @publisher.closed?

    Process.kill("KILL", @publisher.pid)
    @publisher.close
  end

  def tell(line)
    @script.tell(line.to_s)
    @script.wait_for(line.to_s)
  end

  def pids = app.tree.workers.map(&:pid)

  # Waits for two workers that are others than these.
  def expect_two_others(before)
    expect_eventually("two workers", seconds: 40) { pids.size == 2 && (pids & before).empty? }
  end

  # Stops the publisher, and returns the numbers of all its messages.
  def published
    Process.kill("TERM", @publisher.pid)
    lines = ["1", *@publisher.read.split("\n")]
    @publisher.close
    (1..Integer(lines.last)).map(&:to_s).tap { |all| expect(lines).to eq(all) }
  end

  # What each transport has shown: transport => [the texts, the number of its connections or sessions].
  def shown
    @script.tell("end")
    result = @script.results
    expect(result[:errors]).to eq([])
    result[:heard].group_by { |event| event[:transport] }.transform_values do |events|
      [events.map { |event| event[:data] }, events.last[:visit]]
    end
  end

  # Stops the publisher, and waits until the page has shown as much as was published. connections: how many each transport may have had.
  define_method(:expect_all_once) do |connections|
    all = published
    tell(transports.size * all.size)
    expect(shown).to match(transports.to_h { |transport| [transport, [all, connections[transport]]] })
  end

  # The browser's requests may go over a connection to the other worker, which is about to end, too. A WebSocket has a new connection.
  it "shows each message once while workers are replaced" do
    before = pids
    app.signal("USR1")
    expect_two_others(before)
    expect_all_once("websocket" => 2, "sse" => be_between(2, 3), "poll" => be_between(2, 3))
  end

  # One after the other, so that each client loses its worker.
  it "shows each message once while both workers and the hub are killed" do
    pids.each do |pid|
      Process.kill("KILL", pid)
      expect_eventually("another worker", seconds: 40) { pids.size == 2 && !pids.include?(pid) }
    end
    hub = eventually("a hub") { app.tree.hub&.pid }
    Process.kill("KILL", hub)
    expect_eventually("another hub", seconds: 40) { ![nil, hub].include?(app.tree.hub&.pid) }
    expect_all_once(Hash.new(be >= 2))
  end
end
