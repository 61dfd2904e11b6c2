# frozen_string_literal: true

require "spec_helper"

# A child that was forked while its parent answered requests, and that serves by itself. It has inherited what the parent's open
# requests need, but not their threads: Ruby collects their objects, and uses the places for objects of the child's requests.
RSpec.describe "A server in a forked child" do
  before { skip "this Ruby does not fork" unless Process.respond_to?(:fork) }

  held = 60
  serve <<~'CONFIG', "--threads", "61"
    require "spec_app"
    require "forked_child"
    require "socket"

    GATE = Queue.new

    # The statuses of many requests to a server in a child, and how often each came.
    serve_in_child = lambda do
      GC.start
      answers = []
      PushServer::Server.init(0, nil, thread_count: 1)
      PushServer::Server.handle(:GET, "/", ->(env) { answers << env["rack.hijack"]; [200, {}, ["hello"]] })
      PushServer::Server.start
      PushServer::Server.listen("unix://#{Dir.pwd}/child.sock")
      socket = UNIXSocket.new("child.sock")
      Array.new(2000) do
        socket.write("GET / HTTP/1.1\r\nhost: child\r\n\r\n")
        head = socket.gets("\r\n\r\n")
        socket.read(head[/content-length: (\d+)/, 1].to_i)
        head[/ (\d+) /, 1]
      end.tally
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/hold"
        SpecApp.report(:held)
        GATE.pop
      when "/child" then next [200, {}, [ForkedChild.new(&serve_in_child).value(seconds: 60).inspect]]
      end
      [200, {}, ["from the parent"]]
    end)
  CONFIG

  it "answers all requests" do
    clients = Array.new(held) { http.send_request("GET", "/hold") }
    held.times { app.events.take(event: "held") }
    expect(get("/child").body).to eq({ "200" => 2000 }.inspect)
    app.ask("#{held}.times { GATE << 1 }; nil")
    expect(clients.map { |client| client.read_response.body }).to all(eq("from the parent"))
  end
end
