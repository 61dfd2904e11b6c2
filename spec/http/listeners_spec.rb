# frozen_string_literal: true

require "spec_helper"
require "socket"

# PushServer::Server.listen and .retire while the server serves.
RSpec.describe "Listeners that are added and retired" do
  # A server in a program, which does what the spec asks for.
  def start
    start_app(<<~RUBY, via: :ruby)
      require "push_server"
      require "spec_app"

      PushServer::Server.init(nil, nil, thread_count: 2, bind: "tcp://127.0.0.1:0")
      PushServer::Server.handle(nil, "/env") { |env| [200, {}, [env.values_at("SERVER_NAME", "SERVER_PORT").join(" ")]] }
      PushServer::Server.handle(nil, "/retire") { |env| [200, {}, [PushServer::Server.retire(env["QUERY_STRING"]).to_s]] }
      PushServer::Server.handle(nil, "/wait") do
        SpecApp.report(:waiting)
        sleep 0.01 until $go
        [200, {}, ["done"]]
      end
      PushServer::Server.handle(nil, "/push") do |env|
        env["rack.upgrade"] = SpecApp::Recorder.new(message: ->(client, data) { client.write("echo: \#{data}") })
        [200, {}, []]
      end
      PushServer::Server.start
      sleep
    RUBY
  end

  def listen(url) = app.ask("PushServer::Server.listen(#{url.inspect})")
  def retire(url) = app.ask("PushServer::Server.retire(#{url.inspect})")
  def refusal(code) = app.ask("begin; #{code}; rescue PushServer::Error => e; e.class.name + ': ' + e.message; end")

  def address(url)
    path = url[%r{\Aunix://(.*)}, 1]
    path ? Addrinfo.unix(path) : Addrinfo.tcp("127.0.0.1", Integer(url[/\d+\z/]))
  end

  def client(url, kind = HttpClient, *arguments, **options) = closing(kind.new(address(url), *arguments, **options))

  def socket_url = "unix://#{app.dir}/s"

  it "serve requests, with their own SERVER_NAME and SERVER_PORT" do
    start
    url = listen("tcp://127.0.0.1:0")
    expect(url).to match(%r{\Atcp://127\.0\.0\.1:[1-9]\d*\z})
    client = client(url)
    client.write("GET /env HTTP/1.0\r\n\r\n")
    expect(client.read_response.body).to eq("127.0.0.1 #{url[/\d+\z/]}")
    expect(app.wait_for_line(%r{Listening on #{url.sub("tcp", "http")}$})).to start_with("* ")
    expect(listen(socket_url)).to eq(socket_url)
    expect(client(socket_url).get("/env").status).to eq(200)
  end

  it "finish open requests and streams after they are retired" do
    start
    [listen("tcp://127.0.0.1:0"), listen(socket_url)].each do |url|
      app.ask("$go = false")
      waiting = client(url).send_request("GET", "/wait")
      app.events.take(event: "waiting")
      name = Serving.next_name
      socket = opened(client(url, WebSocketClient, "/push?#{name}", id: name))
      idle = client(url).tap { |kept| kept.get("/env") }
      expect(retire(url)).to be(true)
      expect { client(url) }.to raise_error(Errno::ECONNREFUSED) if url.start_with?("tcp")
      expect { client(url) }.to raise_error(Errno::ENOENT) if url.start_with?("unix")
      socket.text("hello")
      expect(socket.read_message).to eq("echo: hello")
      app.ask("$go = true")
      expect(waiting.read_response.body).to eq("done")
      expect(idle.get("/env").status).to eq(200)
      expect(socket.finish(1000)).to eq([1000, ""])
    end
    expect(get("/env").status).to eq(200)
  end

  it "do not disturb requests of another listener, and lose none that they have accepted" do
    start
    stopping = false
    served = Thread::Queue.new
    # A new connection for each request: any that is refused, or not answered, raises here.
    others = Array.new(2) do
      Thread.new do
        until stopping
          other = HttpClient.new(app.address)
          served << other.get("/env").status
          other.close
        end
      end
    end
    20.times do |round|
      url = listen(round.odd? ? "tcp://127.0.0.1:0" : socket_url)
      # Their connections are made, but perhaps not accepted yet, when the listener is retired.
      clients = Array.new(5) { client(url) }
      retired = Thread.new { retire(url) }
      clients.each { |each| each.send_request("GET", "/env") }
      expect(clients.map { |each| each.read_response.status }).to eq([200] * 5)
      expect(retired.value).to be(true)
      close_clients
    end
    stopping = true
    others.each(&:join)
    expect(served.size).to be > 20
    expect(Array.new(served.size) { served.pop }.uniq).to eq([200])
  end

  it "are either there or not if the thread that adds and retires them is killed" do
    start
    app.ask(<<~RUBY)
      300.times do |round|
        PushServer::Server.retire(#{socket_url.inspect})
        thread = Thread.new do
          loop { PushServer::Server.retire(PushServer::Server.listen(#{socket_url.inspect})) }
        rescue PushServer::BindError
          nil # The last thread was killed before it has retired its listener.
        end
        sleep(round * 0.00001)
        thread.kill.join
      end
      nil
    RUBY
    there = File.exist?("#{app.dir}/s")
    expect(retire(socket_url)).to be(there)
    expect(listen(socket_url)).to eq(socket_url)
    expect(client(socket_url).get("/env").status).to eq(200)
    close_clients
    retire(socket_url)
    expect(File.exist?("#{app.dir}/s")).to be(false)
  end

  it "leave no descriptor and no file behind" do
    start
    2.times { retire(listen(socket_url)) && retire(listen("tcp://localhost:0")) }
    before = app.descriptors.size
    5.times { retire(listen(socket_url)) && retire(listen("tcp://localhost:0")) }
    expect([app.descriptors.size, Dir.glob("#{app.dir}/s")]).to eq([before, []])
  end

  it "can all be retired; the server goes on and can listen again" do
    start
    url = app.url.sub("http", "tcp")
    socket = opened(websocket("/push"))
    expect([retire(url), retire(url), app.ask("PushServer::Server.running?")]).to eq([true, false, true])
    expect(listen(url)).to eq(url)
    socket.text("hello")
    expect(socket.read_message).to eq("echo: hello")
    expect(get("/env").status).to eq(200)
  end

  it "can be retired by a handler, whose request came through them" do
    start
    url = app.url.sub("http", "tcp")
    expect(get("/retire?#{url}").body).to eq("true")
    expect { client(url) }.to raise_error(Errno::ECONNREFUSED)
  end

  it "raise an error that says what is wrong" do
    start
    url = app.url.sub("http", "tcp")
    expect(refusal("PushServer::Server.listen(#{url.inspect})"))
      .to eq("PushServer::BindError: cannot listen on #{url}: this server listens there already")
    expect(refusal("PushServer::Server.listen('http://x')")).to start_with('PushServer::OptionError: cannot listen on "http://x": give tcp://')
    expect(refusal("PushServer::Server.listen('unix:///none/s')"))
      .to eq("PushServer::BindError: cannot listen on unix:///none/s: there is no folder /none")
    expect(retire("tcp://127.0.0.1:1")).to be(false)
    app.ask("PushServer::Server.shutdown")
    expect(refusal("PushServer::Server.listen(#{url.inspect})")).to eq("PushServer::Error: call start before listen")
    expect(retire(url)).to be(false)
  end
end
