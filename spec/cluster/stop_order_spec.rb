# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The order of a stop", transport: :tcp do
  # A stream publishes when the server tells it to end. A request for /wait is answered when the file "go" is there, with what was
  # published until then.
  source = <<~'CONFIG'
    require "push_server"
    PushServer.channel "farewell", history: 100, ttl: nil

    Leaver = Class.new do
      def on_open(client) = client.write("in #{Process.pid}")
      def on_shutdown(_) = PushServer.publish("farewell", "shutdown in #{Process.pid}")
      def on_close(_) = PushServer.publish("farewell", "close in #{Process.pid}")
    end

    run(lambda do |env|
      env["rack.upgrade"] = Leaver.new if env["rack.upgrade?"]
      if env["PATH_INFO"] == "/wait"
        $stdout.syswrite("begun in #{Process.pid}\n")
        sleep 0.01 until File.exist?("go")
      end
      [200, {}, [PushServer.history("farewell").map(&:data).join("\n")]]
    end)
  CONFIG
  configuration = <<~'RUBY'
    before_worker_shutdown { |number| PushServer.publish("farewell", "the end of worker #{number}") }
    after_stopped { $stdout.syswrite("after_stopped\n") }
  RUBY

  def waiting_client
    http.tap do |client|
      client.send_request("GET", "/wait")
      @holding = app.wait_for_line(/begun in \d+/)[/\d+/].to_i
    end
  end

  # A stream in the worker that does not hold the request.
  def stream_elsewhere
    eventually("a stream in the other worker") do
      socket = websocket
      socket.read_message[/\d+/].to_i == @holding ? socket.close && nil : socket
    end
  end

  { "with preload" => [], "without preload" => %w[--no-preload] }.each do |mode, switches|
    it "ends a worker, while others still get what it has published, and the hub after the last one: #{mode}" do
      start_cluster(source, *switches, files: { "config/push_server.rb" => configuration })
      others = workers.values
      client = waiting_client
      socket = stream_elsewhere
      leaving = workers.find { |_, pid| pid != @holding }
      app.signal("TERM")
      expect(socket.read_close.first).to eq(1001)
      socket.send_close(1001)
      socket.close
      expect_gone([leaving.last])
      expect(tree.children.map(&:role).tally).to eq({ hub: 1, worker: 1, leader: 1 }.slice(:hub, :worker, *(:leader if switches.empty?)))

      File.write(File.join(app.dir, "go"), "")
      # Streams that were not in the other worker have been closed before.
      expect(client.read_response.body.lines(chomp: true) - ["close in #{@holding}"])
        .to eq(["shutdown in #{leaving.last}", "close in #{leaving.last}", "the end of worker #{leaving.first}"])
      client.close
      expect(app.wait).to be_success
      expect(app.output).not_to match(/error|warn|lost/)
      expect(app.lines.last(2)).to eq(["after_stopped\n", "* Stopped\n"])
      expect_gone(others)
    end
  end

  it "ends the leader before the hub" do
    start_cluster(source)
    leader, hub = tree.leaders.first.pid, tree.hub.pid
    Process.kill("STOP", leader)
    app.signal("TERM")
    expect_eventually("no worker") { tree.workers.empty? }
    expect(tree.children.map(&:pid)).to contain_exactly(leader, hub)
    Process.kill("CONT", leader)

    expect(app.wait).to be_success
    expect_gone([leader, hub])
  end
end
