# frozen_string_literal: true

require "open3"
require "spec_helper"

# The Dockerfile and compose.yaml of docs/deployment, without Docker. See Container.
RSpec.describe "In a container", transport: :tcp do
  before { skip Container.missing if Container.missing }

  source = <<~'CONFIG'
    require "spec_app"

    PushServer.channel "news", history: 10

    denied = ->(path) { File.write(path, "") && "written" rescue $!.class.name }

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/orphan" then system("sh", "-c", "true & exit")
      when "/news" then next [200, {}, [PushServer.history("news").map(&:data).join(",")]]
      end
      seen = [Process.uid, Process.gid, Dir.pwd, denied.call("/app/file"), denied.call("/file"), denied.call("/tmp/file")]
      [200, {}, [JSON.generate(seen)]]
    end)
  CONFIG

  define_method(:start) do |**how|
    @app = Container.new(source, **how)
    (@started ||= []) << @app
    @app.wait_until_listening
    @address = Addrinfo.tcp("127.0.0.1", @app.port)
  end

  def fetch(path = "/") = closing(HttpClient.new(@address)).get(path, { "connection" => "close" }).body

  def stop_within_grace_period
    processes = [app.init, *app.tree.children.map(&:pid)]
    app.signal(ContainerFiles.last("STOPSIGNAL").text.delete_prefix("SIG"))
    expect(app.wait(seconds: ContainerFiles.stop_grace_period)).to be_success
    expect_gone(processes)
  end

  { "workers" => "2", "a single process" => "0" }.each do |title, workers|
    it "as the image says, the server with #{title} is process 1, serves, is healthy, and stops at TERM" do
      start(env: { "WEB_CONCURRENCY" => workers })
      expect(JSON.parse(fetch)).to eq([1000, 1000, "/app", "Errno::EROFS", "Errno::EROFS", "written"])
      expect(app.execute("cat", "/proc/1/comm", "/proc/1/cmdline").first).to match(/push_server/)
      expect(app.execute(*ContainerFiles.last("HEALTHCHECK").exec)).to match([/runs|worker|Listening/i, be_success])
      expect(app.execute("ls", "tmp/sockets").first.split).to eq(%w[push_server.control.sock push_server.publish.sock])
      stop_within_grace_period
    end
  end

  it "finds its sockets if only /tmp can be written to, and says where they are" do
    start(env: { "WEB_CONCURRENCY" => "2" }, tmpfs: { "/tmp" => nil }, files: { "tmp/sockets/.keep" => "" })
    expect_line(%r{/tmp/push_server-1000/\S+control})
    expect(app.execute(*ContainerFiles.last("HEALTHCHECK").exec).last).to be_success
    stop_within_grace_period
  end

  it "is told the news by other processes of its folder, and takes the status of processes that nobody else waits for" do
    start(env: { "WEB_CONCURRENCY" => "2" })
    expect(app.execute("ruby", "-rpush_server", "-e", "PushServer.publish('news', 'hello')").last).to be_success
    expect_eventually("the message to be in both workers") { Array.new(6) { fetch("/news") }.uniq == ["hello"] }
    3.times { fetch("/orphan") }
    expect_eventually("no zombie") do
      File.read("/proc/#{app.init}/task/#{app.init}/children").split.none? do |pid|
        File.read("/proc/#{pid}/stat").match?(/\) Z /)
      rescue SystemCallError
        false
      end
    end
    stop_within_grace_period
  end
end
