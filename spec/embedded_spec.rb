# frozen_string_literal: true

require "spec_helper"

# PushServer::Server, the server inside a Ruby program: its routes, and how the program ends.
RSpec.describe "The embedded form" do
  # A program of the given lines around a started server that says "hello" and echoes over push.
  def start(after: "", before: "", init: "thread_count: 2", **how)
    start_app(<<~RUBY, via: :ruby, **how)
      require "push_server"
      require "spec_app"

      at_exit { SpecApp.report(:exited) }
      $go = Thread::Queue.new
      PushServer::Server.init(0, ".", #{init})
      PushServer::Server.handle(:GET, "/hello", ->(_env) { [200, {}, ["hello"]] })
      PushServer::Server.handle(:GET, "/wait", ->(_env) { SpecApp.report(:waiting); $go.pop; [200, {}, ["done"]] })
      PushServer::Server.handle(:GET, "/push") do |env|
        env["rack.upgrade"] = SpecApp::Recorder.new
        [200, {}, []]
      end
      #{before}
      PushServer::Server.start
      SpecApp.report(:started)
      #{after}
    RUBY
  end

  def request(method, target) = http.request(method, target)

  def waiting_client
    http.send_request("GET", "/wait").tap { app.events.take(event: "waiting") }
  end

  describe "routes" do
    it "finds handlers by method and pattern; the first one that was registered wins" do
      start(after: "sleep", before: <<~RUBY)
        answer = ->(text) { ->(_env) { [200, {}, [text]] } }
        PushServer::Server.handle(:POST, "/item/*", answer["posted"])
        PushServer::Server.handle("put", "/item/1", answer["put"])
        PushServer::Server.handle(nil, "/any/**", answer["any"])
        PushServer::Server.handle(:GET, "/any/late", answer["too late"])
      RUBY
      expect(request("GET", "/hello").body).to eq("hello")
      expect(request("POST", "/item/1").body).to eq("posted")
      expect(request("PUT", "/item/1").body).to eq("put")
      expect(request("DELETE", "/any/thing/at/all").body).to eq("any")
      expect(request("GET", "/any/late").body).to eq("any")
      expect(request("HEAD", "/hello")).to have_attributes(status: 200, body: "")
      expect(request("GET", "/nothing").status).to eq(404)
      expect(request("DELETE", "/item/1")).to have_attributes(status: 405, headers: include("allow" => ["POST, PUT"]))
    end

    it "calls handlers through middleware; the first one is the outermost" do
      start(after: "sleep", files: { "page.html" => "<p>page</p>" }, before: <<~RUBY)
        class Mark
          def initialize(app, *marks, **options, &block) = (@app, @mark = app, [*marks, options[:more], block&.call].compact.join)

          def call(env)
            status, headers, body = @app.call(env)
            [status, headers, [*body, @mark]]
          end
        end

        PushServer::Server.use(Mark, " a", more: "b") { "c" }
        PushServer::Server.use(Mark, " inner")
        PushServer::Server.handle_not_found { |_env| [404, {}, ["none"]] }
      RUBY
      expect(request("GET", "/hello").body).to eq("hello inner abc")
      expect(request("GET", "/nothing")).to have_attributes(status: 404, body: "none inner abc")
      expect(request("GET", "/page.html").body).to eq("<p>page</p>")
      event(:open, websocket("/push"))
    end

    it "calls the not-found handler if no route matches" do
      start(after: "sleep", before: "PushServer::Server.handle_not_found { |env| [404, {}, [\"no \" + env['PATH_INFO']]] }")
      expect(request("GET", "/x")).to have_attributes(status: 404, body: "no /x")
    end

    it "serves files of the root, and calls handlers for other paths" do
      start(after: "sleep", files: { "page.html" => "<p>page</p>" })
      expect(request("GET", "/page.html")).to have_attributes(status: 200, body: "<p>page</p>")
      expect(request("GET", "/page.html")["content-type"]).to start_with("text/html")
      expect(request("GET", "/hello").body).to eq("hello")
    end
  end

  # The program of the article rack push comes from: it writes to its clients for ever, and rescues every Exception.
  clock = <<~RUBY
    loop do
      SpecApp.clients.each do |client|
        client.write("tick")
      rescue Exception => e
        SpecApp.report(:swallowed, message: e.message)
      end
      sleep(0.01)
    end
  RUBY

  %w[INT TERM QUIT].each do |signal|
    it "stops a program that loops for ever on #{signal}: streams closed, requests finished, status 0" do
      start(after: clock)
      socket = websocket("/push")
      event(:open, socket)
      expect(socket.read_message).to eq("tick")
      client = waiting_client
      app.signal(signal)
      event(:shutdown, socket)
      expect(socket.read_close.first).to eq(1001)
      socket.send_close(1001)
      app.ask("$go << 1; nil")
      expect(client.read_response.body).to eq("done")
      expect(app.wait.exitstatus).to eq(0)
      expect(app.events.all(event: "exited").size).to eq(1)
      expect(app.output).not_to match(/Error|Interrupt|SignalException/)
    end
  end

  it "stops a program that rescues the first attempts to end it" do
    start(after: <<~RUBY)
      swallowed = 0
      begin
        sleep
      rescue Exception => e
        SpecApp.report(:swallowed, class: e.class.name)
        retry if (swallowed += 1) < 3
        raise
      end
    RUBY
    app.events.take(event: "started")
    app.signal("TERM")
    3.times { expect(app.events.take(event: "swallowed")).to include(class: "SystemExit") }
    expect(app.wait.exitstatus).to eq(0)
  end

  it "does not interrupt a program that cleans up" do
    # What takes longer than the time between two attempts.
    start(after: "begin; sleep; ensure; sleep 1.2; SpecApp.report(:clean); end", before: <<~RUBY)
      at_exit { sleep 1.2; SpecApp.report(:clean) }
    RUBY
    app.events.take(event: "started")
    app.signal("TERM")
    expect(app.wait.exitstatus).to eq(0)
    expect(app.events.all(event: "clean").size).to eq(2)
  end

  it "ends any program on the second signal, with status 1" do
    start(after: "loop { begin; sleep; rescue Exception; SpecApp.report(:swallowed); end }")
    app.events.take(event: "started")
    client = waiting_client
    app.signal("TERM")
    app.wait_for_line(/Stopping/)
    app.signal("TERM")
    expect(client.connection.ending).not_to be_nil
    expect(app.wait.exitstatus).to eq(1)
  end

  it "ends it on the second signal also if the server has stopped already" do
    start(after: "loop { begin; sleep; rescue Exception; SpecApp.report(:swallowed); end }")
    app.events.take(event: "started")
    app.signal("TERM")
    app.events.take(event: "swallowed")
    app.signal("TERM")
    expect(app.wait.exitstatus).to eq(1)
  end

  it "leaves alone QUIT, if the program has a handler for it, and all signals that do not stop" do
    names = %w[USR1 USR2 TTIN TTOU]
    start(before: "$former = trap('QUIT') { $go << :mine }", after: <<~RUBY)
      SpecApp.report($go.pop, traps: #{names}.map { |name| trap(name, "IGNORE") })
    RUBY
    app.events.take(event: "started")
    app.signal("QUIT")
    # Ruby's names for signals that have no handler.
    expect(app.events.take(event: "mine")[:traps]).to all(match(/\A(SYSTEM_)?DEFAULT\z/))
    expect(app.wait.exitstatus).to eq(0)
  end

  it "leaves alone a signal for which the program has a handler" do
    start(before: "trap('INT') { $go << :interrupted }", after: "SpecApp.report($go.pop); PushServer::Server.shutdown")
    app.events.take(event: "started")
    app.signal("INT")
    app.events.take(event: "interrupted")
    expect(app.wait.exitstatus).to eq(0)
    expect(app.output).to include("* Stopped\n")
  end

  it "finishes requests when the program ends by itself" do
    start(before: "$end = Thread::Queue.new", after: "$end.pop")
    client = waiting_client
    app.ask("$end << 1; nil")
    app.wait_for_line(/Stopping/)
    app.ask("$go << 1; nil")
    expect(client.read_response.body).to eq("done")
    expect(app.wait.exitstatus).to eq(0)
  end

  it "keeps the status of a program that ends by itself" do
    start(after: "exit 3")
    expect(app.wait.exitstatus).to eq(3)
    expect(app.output).to include("* Stopped\n")
  end

  it "does not stop when a child ends that the program has forked" do
    start(after: <<~RUBY)
      Process.wait(fork { SpecApp.report(:child) })
      SpecApp.report(:childless)
      sleep
    RUBY
    app.events.take(event: "childless")
    expect(request("GET", "/hello").body).to eq("hello")
  end

  describe "with thread_count: 0" do
    it "serves until it is stopped, and then lets the program go on" do
      start(init: "thread_count: 0", after: "SpecApp.report(:after)")
      expect(request("GET", "/hello").body).to eq("hello")
      expect(app.events.all(event: "started")).to be_empty
      app.signal("TERM")
      app.events.take(event: "after")
      expect(app.wait.exitstatus).to eq(0)
    end

    it "ends the program on the second signal, with status 1" do
      start(init: "thread_count: 0", after: "SpecApp.report(:after)")
      waiting_client
      app.signal("INT")
      app.wait_for_line(/Stopping/)
      app.signal("INT")
      expect(app.wait.exitstatus).to eq(1)
      expect(app.events.all(event: "after")).to be_empty
    end
  end

  describe "shutdown" do
    it "waits until the server has stopped, and may be called again" do
      start(after: "$go.pop; 2.times { PushServer::Server.shutdown }; SpecApp.report(:running, is: PushServer::Server.running?); sleep")
      app.events.take(event: "started")
      app.ask("$go << 1; nil")
      expect(app.events.take(event: "running")).to include(is: false)
    end

    it "works from a handler, which finishes first" do
      start(init: "thread_count: 1", after: "sleep", before: <<~RUBY)
        PushServer::Server.handle(:GET, "/stop", ->(_env) { PushServer::Server.shutdown; [200, {}, ["stopping"]] })
      RUBY
      expect(request("GET", "/stop").body).to eq("stopping")
      app.wait_for_line(/Stopped/)
      expect(app).to be_running
    end

    it "works from a signal handler" do
      start(before: "trap('USR1') { PushServer::Server.shutdown }", after: "sleep")
      app.signal("USR1")
      app.wait_for_line(/Stopped/)
      expect(app).to be_running
    end

    it "gives INT and TERM back to the program" do
      start(after: "PushServer::Server.shutdown; sleep 0.01 until trap('TERM', 'DEFAULT') == 'DEFAULT'; SpecApp.report(:given_back)")
      expect(app.events.take(event: "given_back")).to eq(event: "given_back")
    end

    it "leaves no descriptor open when servers follow each other" do
      start(after: "PushServer::Server.shutdown; SpecApp.report(:stopped); sleep")
      app.events.take(event: "stopped")
      restart = <<~RUBY
        PushServer::Server.init(0)
        PushServer::Server.start
        PushServer::Server.shutdown
      RUBY
      app.ask(restart)
      before = app.descriptors.size
      # The last servers may not be collected yet.
      12.times { app.ask(restart) }
      closed = eventually("the descriptors to be closed") { app.ask("GC.start; Dir.children('/dev/fd').size") <= before + 6 }
      expect(closed).to be(true)
    end

    it "lets another server be prepared and started" do
      start(after: <<~RUBY)
        PushServer::Server.shutdown
        PushServer::Server.init(0, nil)
        PushServer::Server.handle(nil, "/second", ->(_env) { [200, {}, ["second"]] })
        PushServer::Server.start
        sleep
      RUBY
      line = eventually { app.output.scan(AppProcess::LISTENING)[1] }
      client = HttpClient.new(line.last.to_i)
      expect(client.get("/second").body).to eq("second")
      client.close
    end
  end

  describe "what is called at the wrong time, or wrongly" do
    def messages(script)
      result = Class.new { extend Command }.run_command(RbConfig.ruby, "app.rb", files: { "app.rb" => <<~RUBY })
        require "push_server"
        S = PushServer::Server
        def try = (yield; puts "fine") rescue puts("\#{$!.class}: \#{$!.message}")
        #{script}
      RUBY
      expect(result.err).to eq("")
      result.out.lines.map(&:chomp).grep(/\A(PushServer::|ArgumentError|fine)/)
    end

    it "raises an error that says what is wrong" do
      expect(messages(<<~RUBY)).to match_array(
        S.shutdown
        try { S.start }
        try { S.handle(:GET, "/", ->(_) {}) }
        S.init(0)
        try { S.handle(:GET, "/", nil) }
        try { S.handle(:GET, "no/slash", ->(_) {}) }
        try { S.use(nil) }
        try { S.handle(:GET, "/", Class.new { def self.on_request(request, response) = nil; def self.inspect = "Old" }) }
        try { S.domain("a.example", "root") }
        try { PushServer::Log.configure(dir: "") }
        S.start
        try { S.start }
        try { S.handle(:GET, "/", ->(_) {}) }
        try { S.init(0) }
        S.shutdown
        try { S.init(0) }
      RUBY
        [
          "PushServer::Error: call init before start",
          "PushServer::Error: call init before registering handlers",
          "ArgumentError: the handler of / has no method call: nil",
          'ArgumentError: a pattern begins with / or *: "no/slash"',
          "ArgumentError: the middleware has no method new: nil",
          "ArgumentError: the handler of / has no method call: Old: Agoo's on_request(request, response) is not called",
          /\APushServer::UnsupportedError: there is no PushServer::Server.domain: .*HTTP_HOST/,
          /\APushServer::UnsupportedError: there is no PushServer::Log: .*access_log/,
          "PushServer::Error: the server has been started already: init prepares another",
          "PushServer::Error: handlers must be registered before start",
          "PushServer::Error: the server is running: shut it down before init",
          "fine"
        ]
      )
    end

    it "raises errors that name options as init does" do
      expect(messages(<<~RUBY)).to match_array(
        try { S.init(0, "/no/such") }
        try { S.init(0, ".", thread_count: -1) }
        try { S.init(0, ".", worker_count: 2) }
        taken = TCPServer.new("127.0.0.1", 0)
        S.init(taken.local_address.ip_port, ".", bind: "tcp://127.0.0.1:\#{taken.local_address.ip_port}")
        try { S.start }
        taken.close
        try { S.start }
      RUBY
        [
          'PushServer::OptionError: root: cannot be "/no/such": give a folder that exists',
          "PushServer::OptionError: thread_count: cannot be -1: give a whole number, from 1 to 1000",
          /PushServer::OptionError: there is no option :worker_count/,
          %r{PushServer::BindError: cannot listen on tcp://127.0.0.1:\d+: the port is in use},
          "fine"
        ]
      )
    end
  end
end
