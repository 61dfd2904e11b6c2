# frozen_string_literal: true

require "spec_helper"
require "socket"
require "push_server/version"

# The command line as a user meets it: processes, sockets, what is printed, how it exits.
RSpec.describe "push_server, the command" do
  include Command

  hello = "run ->(env) { [200, { 'content-type' => 'text/plain' }, ['hello']] }\n"

  def get(target = "/", **options) = HttpClient.new(app.port, **options).get(target)

  describe "its arguments" do
    it "prints its version" do
      result = push_server("--version")
      expect([result.out, result.err, result.exitstatus]).to eq(["push_server #{PushServer::VERSION}\n", "", 0])
    end

    it "prints its options, in lines of at most 80 columns" do
      result = push_server("--help")
      expect(result.exitstatus).to eq(0)
      expect(result.out.lines.map { |line| line.chomp.size }.max).to be <= 80
      expect(result.out).to include("--bind URL", "--port PORT", "--threads N", "--environment NAME", "--sse-event NAME",
                                    "--allow-origin URL", "--public DIR", "--slow-client POLICY", "--drain-timeout SECONDS",
                                    "--log-level LEVEL", "--max-message-size BYTES", "--version", "--help")
    end

    it "has one line for each switch, and takes no word of a description for a switch" do
      require "push_server"
      switches = PushServer::Options::TABLE.values.filter_map { |option| option.switches.last }
      lines = push_server("--help").out.lines.grep(/\A {2,6}-/)
      expect(lines.map { |line| line.sub("--[no-]", "--")[/--[\w-]+/] }).to match_array(switches + %w[--verbose --quiet --check --version --help])
    end

    it "takes folders whose names are bytes that are not UTF-8" do
      Dir.mktmpdir do |parent|
        folder = File.join(parent, "caf\xe9")
        Dir.mkdir(folder)
        File.write(File.join(folder, "config.ru"), hello)
        File.write(File.join(folder, "public.txt"), "a file")
        start_app("config.ru", "--public", folder, "--access-log", "json", "--access-log-file", File.join(folder, "log"), dir: folder)
        expect(get("/public.txt").body).to eq("a file")
        expect(app.stop).to be_success
        expect(File.read(File.join(folder, "log"))).to include("/public.txt")
        { 'raise "boom"' => "raises.ru:1: boom (RuntimeError)", "foo(" => "raises.ru:1: syntax error" }.each do |source, complaint|
          File.write(File.join(folder, "raises.ru"), source)
          expect(push_server(File.join(folder, "raises.ru")).err.scrub.lines.first).to include(complaint)
        end
      end
    rescue Errno::EILSEQ
      skip "the file system takes no such name"
    end

    # bin/push_server sets up the checkout; that takes too long when bin/setup has not run before.
    it "runs from the checkout, in any folder", if: File.exist?(File.join(AppProcess::ROOT, ".local/extension")) do
      result = run_command(File.join(AppProcess::ROOT, "bin/push_server"), "--version")
      expect([result.out, result.exitstatus]).to eq(["push_server #{PushServer::VERSION}\n", 0])
    end

    it "finds config.ru by itself, sets the environment and prints what it serves where" do
      start_app("run ->(_) { [200, {}, [ENV.values_at('RACK_ENV').inspect]] }", "-e", "staging", "-t", "3")
      # This folder has no tmp for the control socket, which is logged.
      expect(app.lines.map(&:chomp).grep_v(/runtime directory/))
        .to start_with(/\Apush_server #{PushServer::VERSION} \(ruby \S+, rack \S+\)\z/, "* 3 threads, staging",
                       "* Listening on http://127.0.0.1:#{app.port}")
      expect(get.body).to eq('["staging"]')
    end

    it "listens on every endpoint that it is given" do
      start_app(hello, "--bind", "tcp://127.0.0.1:0", "-b", "tcp://127.0.0.1", "-p", "0")
      app.wait_for_line(/Ctrl-C/)
      urls = app.output.scan(AppProcess::LISTENING).map(&:first)
      expect(urls.size).to eq(3)
    end

    it "prints nothing with -q" do
      port = free_port
      launch_app(hello, "-q", "-b", "tcp://127.0.0.1:#{port}")
      connect_when_listening(port)
      app.stop
      expect(app.output).to eq("")
    end

    it "takes a value after an equals sign, after a space, or right after a short switch" do
      port = free_port
      options = ["--bind=tcp://127.0.0.1", "-p#{port}", "-t3", "--sse-event=", "--max-uri-size=100", "-qe", "staging"]
      launch_app(hello, *options, "-b", "tcp://127.0.0.1:0", "--log-level", "info")
      app.wait_for_line(/Ctrl-C/)
      expect(app.lines.map(&:chomp)).to include("* 3 threads, staging", "* Listening on http://127.0.0.1:#{port}")
    end

    it "takes what follows -- as the config file, even if it begins with a dash" do
      result = push_server("--", "-w")
      expect(result.complaint).to match([/\Apush_server: there is no -w: name one that is there/])
    end

    it "passes limits on to the server" do
      start_app(hello, "--max-uri-size", "100")
      expect(get("/#{"x" * 200}").status).to eq(414)
    end

    it "serves files of the public folder" do
      start_app(hello, "--public", ".", files: { "page.html" => "<p>page</p>" })
      expect(get("/page.html").body).to eq("<p>page</p>")
      expect(get("/").body).to eq("hello")
    end

    it "ignores a line of rackup's options" do
      start_app("#\\ -p 1\n#{hello}")
      expect(get.body).to eq("hello")
    end

    it "takes port, environment and threads from the environment" do
      port = free_port
      # AppProcess gives the command a --bind: this is about what happens without one.
      Dir.mktmpdir do |dir|
        File.write(File.join(dir, "app.rb"), "load '#{AppProcess::ROOT}/exe/push_server'")
        File.write(File.join(dir, "config.ru"), hello)
        env = { "PORT" => port.to_s, "APP_ENV" => "test", "RACK_ENV" => "production", "RAILS_MAX_THREADS" => "2" }
        launch_app("app.rb", via: :ruby, dir: dir, env: env)
        app.wait_until_listening
        expect(app.lines.map(&:chomp)).to include("* 2 threads, test", "* Listening on http://localhost:#{port}")
        app.stop
      end
    end

    ipv6 = Socket.ip_address_list.any?(&:ipv6_loopback?)

    it "serves localhost on both families", if: ipv6 do
      start_app(hello, "-b", "tcp://localhost:0")
      app.wait_for_line(/Ctrl-C/)
      port = app.output[%r{http://localhost:(\d+)}, 1].to_i
      %w[127.0.0.1 ::1].each do |address|
        expect(raw_get(address, port)).to end_with("hello")
      end
    end
  end

  describe "what it refuses, in one line and with a status" do
    def expect_refusal(*arguments, message, status, files: { "config.ru" => "run ->(_) { [200, {}, []] }" }, **how)
      result = push_server(*arguments, files: files, **how)
      expect(result.complaint).to match([message])
      expect([result.out, result.exitstatus]).to eq(["", status])
    end

    it "an unknown option" do
      expect_refusal("--prot", "1", "push_server: there is no option --prot: did you mean --port?", 2)
    end

    it "the beginning of an option's name, and suggests the option" do
      expect_refusal("--drain", "1", "push_server: there is no option --drain: did you mean --drain-timeout?", 2)
    end

    it "an option of another server, and says what to use instead" do
      expect_refusal("-s", "2", "push_server: there is no option -s: the number of processes is --workers", 2)
      expect_refusal("-d", /\Apush_server: there is no option -d: push_server stays in the foreground/, 2)
    end

    it "an option without its value" do
      expect_refusal("--port", /\Apush_server: --port needs a value/, 2)
    end

    it "a value that is not valid" do
      expect_refusal("--threads", "none", /\Apush_server: --threads cannot be "none": give/, 2)
      expect_refusal("--max-queue", "0", "push_server: --max-queue cannot be \"0\": give a whole number, 1 or more", 2)
      expect_refusal(/\Apush_server: \$PORT cannot be "http"/, 2, env: { "PORT" => "http" })
    end

    it "two config files" do
      expect_refusal("a.ru", "b.ru", /\Apush_server: one config file can be served/, 2)
    end

    it "a bind that is not a URL" do
      expect_refusal("-b", "localhost:80", /\Apush_server: cannot listen on "localhost:80": give tcp:/, 2)
    end

    it "an ssl:// URL that a shell has cut off, or whose files it cannot read" do
      expect_refusal("-b", "ssl://127.0.0.1:0?cert=a.pem", /\Apush_server: cannot listen on .* each cert needs its key.* quotes\z/, 2)
      expect_refusal("-b", "ssl://127.0.0.1:0?cert=a.pem&key=b.pem",
                     %r{\Apush_server: cannot listen on ssl://127.0.0.1:0: cannot read \S+/a.pem: No such file or directory\z}, 1)
    end

    it "a private key in the configuration file, which it does not print" do
      files = { "config.ru" => hello, "settings.rb" => "ssl_bind '127.0.0.1', 0, cert_pem: 'c', key_pem: 'SECRET'" }
      complaint = /\Apush_server: cannot listen on "ssl:.* there is no parameter cert_pem: write it to a file.* as cert\z/
      expect_refusal("-C", "settings.rb", complaint, 2, files: files)
    end

    it "an address that this machine does not have" do
      expect_refusal("-b", "tcp://192.0.2.1:0", /\Apush_server: cannot listen on tcp:\S+ this machine does not have the address/, 1)
    end

    it "a port in use" do
      taken = TCPServer.new("127.0.0.1", 0)
      port = taken.local_address.ip_port
      expect_refusal("-p", port, %r{\Apush_server: cannot listen on tcp://localhost:#{port}: the port is in use}, 1)
    ensure
      taken.close
    end

    privileged = File.exist?("/proc/sys/net/ipv4/ip_unprivileged_port_start") &&
                 File.read("/proc/sys/net/ipv4/ip_unprivileged_port_start").to_i > 80
    unprivileged = privileged && Process.uid.zero? && system("setpriv", "--version", out: File::NULL, err: File::NULL)

    it "a privileged port", if: unprivileged do
      # Without this capability, root may not do it either.
      result = run_command("setpriv", "--bounding-set", "-net_bind_service", "--inh-caps", "-net_bind_service",
                           RbConfig.ruby, File.join(AppProcess::ROOT, "exe/push_server"), "-p", "80",
                           files: { "config.ru" => hello })
      expect(result.complaint)
        .to match([%r{\Apush_server: cannot listen on tcp://localhost:80: the system reserves ports below 1024}])
      expect(result.exitstatus).to eq(1)
    end

    it "a folder without config.ru" do
      expect_refusal(/\Apush_server: there is no config.ru in \S+: name one/, 1, files: {})
      expect_refusal("other.ru", "push_server: there is no other.ru: name one that is there", 1)
    end

    {
      "runs nothing" => ["# nothing", /\Apush_server: config.ru: missing run or map statement/],
      "runs what is no app" => ["run 3", "push_server: config.ru: what it runs has no method call: 3"]
    }.each do |case_, (source, message)|
      it("a config.ru that #{case_}") { expect_refusal(message, 1, files: { "config.ru" => source }) }
    end
  end

  def free_port = TCPServer.open("127.0.0.1", 0) { |server| server.local_address.ip_port }

  def refused?(port)
    Socket.tcp("127.0.0.1", port).close
    false
  rescue Errno::ECONNREFUSED, Errno::ECONNRESET
    true
  end

  def connect_when_listening(port)
    eventually("a listener on port #{port}") { !refused?(port) }
  end

  def raw_get(address, port)
    Socket.tcp(address, port) do |socket|
      socket.write("GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
      socket.read
    end
  end
end
