# frozen_string_literal: true

require "spec_helper"
require "rbconfig"
require "socket"

# The file of a Unix socket, and the env of its requests. spec/stream/unix_socket_spec.rb is about what clients send and get.
RSpec.describe "A Unix socket" do
  include Command

  source = <<~RUBY
    require "spec_app"
    run(lambda do |env|
      case env["PATH_INFO"]
      when "/env"
        [200, {}, [env.values_at(*env["QUERY_STRING"].split("&")).inspect]]
      when "/wait"
        SpecApp.report(:waiting)
        sleep 0.01 until $go
        [200, {}, ["done"]]
      end
    end)
  RUBY

  around do |example|
    Dir.mktmpdir("push_server-spec") do |dir|
      @path = File.join(dir, "app.sock")
      example.run
      kill_apps
    end
  end

  attr_reader :path

  # Starts a server on this socket alone, without the bind that AppProcess would add.
  define_method(:start) do |*options, bind: "unix://#{path}"|
    command = "load #{File.join(AppProcess::ROOT, "exe/push_server").inspect}"
    start_app("ARGV.unshift('-b', #{bind.inspect}); #{command}", *options, "config.ru", via: :ruby, files: { "config.ru" => source })
  end

  def get(target = "/env?REMOTE_ADDR", headers = {}) = closing(HttpClient.new(Addrinfo.unix(path))).get(target, headers)

  # The line that the command prints when it cannot listen there, and its exit status.
  def complaint(bind)
    result = push_server("-b", bind, files: { "config.ru" => "run ->(_) { [200, {}, []] }" })
    expect([result.out, result.complaint.size]).to eq(["", 1])
    [result.complaint.first.delete_prefix("push_server: "), result.exitstatus]
  end

  it "serves requests, with the same env as Puma" do
    start
    expect(app.url).to eq("unix://#{path}")
    expect(get("/env?REMOTE_ADDR&SERVER_NAME&SERVER_PORT&rack.url_scheme", "host" => "example.org:8080").body)
      .to eq('["127.0.0.1", "example.org", "8080", "http"]')
    without_host = closing(HttpClient.new(app.address))
    without_host.write("GET /env?REMOTE_ADDR&SERVER_NAME&SERVER_PORT&HTTP_HOST HTTP/1.0\r\n\r\n")
    expect(without_host.read_response.body).to eq('["127.0.0.1", "localhost", "80", nil]')
  end

  it "has a file with the mode that the option names" do
    start(bind: "unix://#{path}?mode=0600")
    expect(File.stat(path).mode & 0o777).to eq(0o600)
  end

  it "has a file only while the server accepts connections" do
    start("--drain-timeout", "20")
    waiting = closing(HttpClient.new(app.address)).send_request("GET", "/wait")
    app.events.take(event: "waiting")
    app.signal("TERM")
    app.wait_for_line(/Stopping/)
    eventually { !File.exist?(path) }
    app.ask("$go = true")
    expect(waiting.read_response.body).to eq("done")
    expect(app.wait).to be_success
  end

  it "has no file after a stop at once" do
    start
    closing(HttpClient.new(app.address)).send_request("GET", "/wait")
    app.events.take(event: "waiting")
    2.times { app.signal("TERM") && app.wait_for_line(/Stopping/) }
    expect(app.wait.exitstatus).to eq(1)
    expect(File.exist?(path)).to be(false)
  end

  it "replaces the file of a killed server" do
    start
    app.kill
    expect(File.socket?(path)).to be(true)
    start
    expect(get.status).to eq(200)
  end

  it "does not replace the file of a running server" do
    start
    expect(complaint("unix://#{path}"))
      .to eq(["cannot listen on unix://#{path}: the socket #{path} is in use by another process", 1])
    expect(get.status).to eq(200)
  end

  it "does not remove another server's file when the server stops" do
    start
    first = app
    File.unlink(path)
    start
    expect(first.stop).to be_success
    expect(get.status).to eq(200)
  end

  it "keeps its file when a forked child ends" do
    start
    expect(app.ask("Process.wait(fork { exit }); $?.success?")).to be(true)
    expect(get.status).to eq(200)
  end

  it "prints one line if it cannot listen, which says why" do
    File.write(path, "text")
    expect(complaint("unix://#{path}")).to eq(["cannot listen on unix://#{path}: there is a file of that name that is not a socket", 1])
    expect(File.read(path)).to eq("text")
    folder = "#{File.dirname(path)}/none"
    expect(complaint("unix://#{folder}/s")).to eq(["cannot listen on unix://#{folder}/s: there is no folder #{folder}", 1])
    expect(complaint("unix://#{folder}%FF/s")).to eq(["cannot listen on unix://#{folder}%FF/s: there is no folder #{folder}\u{fffd}", 1])
    expect(complaint("unix://#{path}?mode=rw")).to match([/mode has three octal digits, such as 0660\z/, 2])
    expect(complaint("unix://#{path}#{"x" * 200}")).to match([/the path has \d+ bytes, but a socket's path can have at most 10\d\z/, 2])
    expect(complaint("unix://tmp/s")).to match([/the path is absolute\z/, 2])
  end

  it "can be used together with TCP" do
    start("-b", "tcp://127.0.0.1:0")
    port = app.wait_for_line(%r{http://127.0.0.1:\d+})[/:(\d+)\s*\z/, 1].to_i
    expect([get.body, closing(HttpClient.new(port)).get("/env?SERVER_PORT", { "host" => "127.0.0.1:#{port}" }).body])
      .to eq(['["127.0.0.1"]', "[\"#{port}\"]"])
  end

  it "can be inherited as fd://; then the server does not remove the file" do
    socket = UNIXServer.new(path)
    pid = spawn({ "RUBYLIB" => File.join(AppProcess::ROOT, "lib") }, RbConfig.ruby, "-e", <<~RUBY, 9 => socket, out: File::NULL)
      require "push_server"
      PushServer.run(->(env) { [200, {}, [env["SERVER_NAME"]]] }, bind: "fd://9")
    RUBY
    expect(get("/").body).to eq("localhost")
    Process.kill("TERM", pid)
    expect(Process.wait2(pid).last).to be_success
    pid = nil
    expect(File.socket?(path)).to be(true)
  ensure
    socket.close
    Process.kill("KILL", pid) && Process.wait(pid) if pid
  end
end
