# frozen_string_literal: true

require "spec_helper"

# rack.hijack gives the app its socket at once, without letting another Ruby thread run, if there is nothing to write first
# and nothing was read behind the request. In all other cases it waits.
RSpec.describe "Hijacking at once" do
  serve <<~'CONFIG', "--threads", "3"
    require "spec_app"

    # MessageBus, as far as a poll of it without chunks goes. It reads the backlog before it hijacks and registers the
    # client after that. A message that another thread publishes in between is lost for the client: the gem relies on a
    # server whose hijack lets no other thread run.
    class Bus
      def initialize
        @last_id = 0
        @clients = []
        @notices = Queue.new
        Thread.new { loop { notify(@notices.pop) } }
      end

      def publish
        @last_id += 1
        @notices << @last_id if @clients.any?
      end

      # The client gets the last id of the backlog, and the id of the message that comes by the socket.
      def poll(env)
        # Ruby switches threads by itself, too, but waits for long with a thread that matters more.
        Thread.current.priority = 3
        seen = @last_id
        io = env["rack.hijack"].call
        @clients << [io, seen]
        Thread.current.priority = 0
        [418, {}, ["I am a teapot, undefined in the specification"]]
      end

      private

      # On the timer thread.
      def notify(id)
        while (client = @clients.shift)
          io, seen = client
          body = "#{seen} #{id}"
          io.write("HTTP/1.1 200 OK\r\ncontent-length: #{body.bytesize}\r\nconnection: close\r\n\r\n#{body}")
          io.close
        end
      end
    end
    BUS = Bus.new

    # With no descriptor to spare.
    short_of_descriptors = lambda do |&action|
      soft, hard = Process.getrlimit(:NOFILE)
      Process.setrlimit(:NOFILE, 3, hard)
      action.call
    ensure
      Process.setrlimit(:NOFILE, soft, hard)
    end

    answer = lambda do |io, text|
      io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n#{text}")
      io.close
      [-1, {}, []]
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/poll" then BUS.poll(env)
      when "/large" then [200, {}, ["x" * 8_000_000]]
      when "/behind" then answer[env["rack.hijack"].call, "mine"]
      when "/hinted"
        env["rack.early_hints"].call("link" => "</style.css>")
        answer[env["rack.hijack"].call, "mine"]
      when "/descriptors" then answer[short_of_descriptors.call { env["rack.hijack"].call }, "mine"]
      when "/body" then answer[env["rack.hijack"].call, env["rack.input"].read]
      when "/read"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        io.wait_readable
        answer[io, io.read_nonblock(100)]
      when "/many"
        SpecApp.report(:hijacked, io: env["rack.hijack"].call.is_a?(IO))
        [-1, {}, []]
      else [200, {}, ["plain"]]
      end
    end)
  CONFIG

  it "loses no message of a bus that reads its backlog before it hijacks, and registers the client afterwards" do
    app.ask("$publisher = Thread.new { loop { BUS.publish; Thread.pass } }; nil")
    gaps = Array.new(200) { http.get("/poll").body.split.map(&:to_i) }.map { |seen, got| got - seen - 1 }
    expect(gaps.select(&:positive?)).to eq([])
  ensure
    app.ask("$publisher.kill; nil")
  end

  it "comes behind a response that the client has not read yet" do
    client = http
    client.write("GET /large HTTP/1.1\r\nhost: x\r\n\r\nGET /behind HTTP/1.1\r\nhost: x\r\n\r\n")
    expect(client.read_response.body.bytesize).to eq(8_000_000)
    expect(client.read_response.body).to eq("mine")
  end

  it "comes behind an informational response that the app has just sent" do
    client = http
    client.send_request("GET", "/hinted")
    expect(client.read_response(interim: true).status).to eq(103)
    expect(client.read_response.body).to eq("mine")
  end

  it "comes behind the 100 Continue that a body asks for" do
    client = http
    client.send_request("POST", "/body", { "expect" => "100-continue" }, body: "the body")
    expect(client.read_response(interim: true).status).to eq(100)
    expect(client.read_response.body).to eq("the body")
  end

  it "needs no descriptor to spare" do
    expect(http.get("/descriptors").body).to eq("mine")
  end

  it "leaves what comes in afterwards to the app" do
    client = http.send_request("GET", "/read")
    client.read_head
    client.write("for the app")
    expect(client.connection.read_to_end).to end_with("for the app")
  end

  it "gives up the connection's place among those the server counts, and its deadlines" do
    clients = Array.new(5) { http.send_request("GET", "/many") }
    5.times { expect(app.events.take(event: "hijacked")).to include(io: true) }
    eventually("no connection to be left") { app.ask("PushServer.stats[:open_connections]").zero? }
    expect(clients.map { |client| client.connection.anything? }).to eq([false] * 5)
  end

  it "is over when the app closes its socket: nothing else keeps the connection" do
    client = http.send_request("GET", "/behind")
    expect(client.read_response.body).to eq("mine")
    expect(client.connection.ending).to eq(:fin)
  end
end
