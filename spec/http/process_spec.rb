# frozen_string_literal: true

require "spec_helper"

# The process without free descriptors, with signals, and its addresses. The command line, ports in use and INT while the app
# loads are in spec/cli_spec.rb.
RSpec.describe "The server's process" do
  hello = <<~'CONFIG'
    require "spec_app"

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/pause"
        sleep 1
      when "/spool" then next [200, {}, [env["rack.input"].read.bytesize.to_s]]
      when "/fork"
        pid = fork {}
        Process.wait(pid)
      when "/address"
        next [200, {}, [env.values_at("SERVER_NAME", "SERVER_PORT", "REMOTE_ADDR").join(" ")]]
      end
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, { "content-type" => "text/plain" }, ["hello"]]
    end)
  CONFIG

  define_method(:hello) { hello }

  def start(source = hello, *options, **how) = start_app(source, *options, **how)

  describe "without a free file descriptor" do
    before { skip "needs /proc" unless ProcessCost.available? }

    # Like `ulimit -n 64`, but done by the app while it is loaded.
    few = "Process.setrlimit(:NOFILE, 64)\n#{hello}"

    it "uses no CPU, serves the connections it has, and recovers" do
      start(few, "--threads", "2")
      first = http
      expect(first.get("/").body).to eq("hello")
      clients = Array.new(100) { http.send_request("GET", "/") }
      eventually("some to be answered") { clients.count { |client| client.connection.anything? } >= 10 }
      before = ProcessCost.cpu_time(app.pid)
      # The request takes a second.
      expect(first.get("/pause").body).to eq("hello")
      expect(ProcessCost.cpu_time(app.pid) - before).to be < 0.4
      expect(clients.count { |client| client.connection.anything? }).to be < 64
      expect(first.get("/fork").status).to eq(200).or eq(500)
      expect(first.get("/").body).to eq("hello")
      # Those that wait are served when others disconnect.
      until clients.empty?
        eventually("more of them to be answered") { clients.any? { |client| client.connection.anything? } }
        answered = clients.select { |client| client.connection.anything? }
        answered.each { |client| expect(client.read_response.body).to eq("hello") }
        answered.each(&:close)
        clients -= answered
      end
      expect(get("/").body).to eq("hello")
      expect(app.lines.grep(/cannot accept/).size).to be < 100
      expect(app.stop).to be_success
    end

    it "answers 503 to a request body that it cannot keep in a file, and recovers" do
      start(few, "--threads", "2", "--body-memory", "1000")
      client = http
      expect(client.request("POST", "/spool", body: "x" * 100_000).body).to eq("100000")
      held = app.ask("$held = []; begin; loop { $held << File.open(File::NULL) }; rescue Errno::EMFILE; $held.size; end")
      expect(held).to be > 5
      expect(client.request("POST", "/spool", body: "x" * 100_000).status).to eq(503)
      app.wait_for_line(/a request body cannot be written to a temporary file/)
      app.ask("$held.each(&:close); nil")
      expect(http.request("POST", "/spool", body: "x" * 100_000).body).to eq("100000")
    end
  end

  describe "with signals" do
    it "stops once when TERM comes twice and INT follows" do
      start
      socket = opened(websocket)
      %w[TERM TERM INT].each do |signal|
        app.signal(signal)
      rescue Errno::ESRCH
        break # The second was enough.
      end
      expect([0, 1]).to include(app.wait.exitstatus)
      expect(app.output.scan("* Stopped").size).to eq(1)
      expect(socket.ending).not_to be_nil
    end

    it "stops even if clients keep connecting" do
      start
      stopping = false
      visitors = Array.new(4) do
        Thread.new do
          until stopping
            begin
              client = HttpClient.new(app.address)
              client.get("/")
            rescue SystemCallError, RawConnection::Ended
              nil
            ensure
              client&.close
            end
          end
        end
      end
      20.times { expect(get("/").body).to eq("hello") }
      app.signal("TERM")
      expect(app.wait).to be_success
      stopping = true
      visitors.each(&:join)
    end

    %w[USR1 USR2 WINCH CHLD CONT].each do |signal|
      it "leaves #{signal} to the app's trap" do
        start("trap(#{signal.inspect}) { nil }\n#{hello}")
        3.times { app.signal(signal) }
        expect(get("/").body).to eq("hello")
        expect(app.stop).to be_success
      end
    end

    it "goes on after STOP and CONT" do
      start
      client = http
      client.get("/")
      app.signal("STOP")
      client.send_request("GET", "/")
      late = http.send_request("GET", "/")
      app.signal("CONT")
      expect([client, late].map { |one| one.read_response.body }).to eq(%w[hello hello])
    end
  end

  it "goes on when nothing reads its log any more" do
    start(<<~'CONFIG')
      reader, writer = IO.pipe
      $stderr.reopen(writer)
      reader.close
      run(lambda do |env|
        raise "logged" if env["PATH_INFO"] == "/raise"

        env["rack.errors"].puts("x" * 100) if env["PATH_INFO"] == "/errors"
        [200, { "content-type" => "text/plain" }, ["hello"]]
      end)
    CONFIG
    3.times { expect(get("/raise").status).to eq(500) }
    expect([200, 500]).to include(get("/errors").status)
    expect(get("/").body).to eq("hello")
    expect(app.stop).to be_success
  end

  ipv6 = Socket.ip_address_list.any?(&:ipv6_loopback?)

  describe "listening on IPv6", if: ipv6 do
    def ask_for(address, host)
      client = HttpClient.new(Addrinfo.tcp(address, app.port))
      client.get("/address", { "host" => host }).body
    ensure
      client&.close
    end

    it "prints the address, accepts connections and tells the app the client's address" do
      start(hello, "-b", "tcp://[::1]:0")
      url = app.wait_for_line(%r{http://\[::1\]:\d+})
      port = Integer(url[/:(\d+)\s*\z/, 1])
      client = HttpClient.new(Addrinfo.tcp("::1", port))
      expect(client.get("/address", { "host" => "[::1]:#{port}" }).body).to eq("[::1] #{port} ::1")
      client.close
    end

    it "tells the app IPv4 addresses in their usual form on a socket for both families" do
      start(hello, "-b", "tcp://[::]:0")
      port = Integer(app.wait_for_line(%r{http://\[::\]:\d+})[/:(\d+)\s*\z/, 1])
      client = HttpClient.new(port)
      expect(client.get("/address", { "host" => "a:1" }).body).to eq("a 1 127.0.0.1")
      client.close
    rescue Errno::ECONNREFUSED
      # A socket for IPv6 alone has no such addresses.
      expect(port).to be > 0
    end
  end

  it "has a port for each of several listeners on port 0" do
    start(hello, *%w[-b tcp://127.0.0.1:0 -b tcp://127.0.0.1:0])
    app.wait_for_line(/Ctrl-C/)
    ports = app.output.scan(AppProcess::LISTENING).map { |*, port| Integer(port) }
    expect(ports.uniq.size).to eq(3)
    ports.each do |port|
      client = HttpClient.new(port)
      expect(client.get("/").body).to eq("hello")
      client.close
    end
  end
end
