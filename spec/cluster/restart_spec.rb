# frozen_string_literal: true

require "spec_helper"

# USR2: the supervisor executes itself anew. What only this restart changes: the configuration, the sockets, push_server itself.
RSpec.describe "A restart of a server with workers", transport: :tcp do
  include ChannelClients

  # The code of each answer and each subscriber is that of the file `release`, as it was when the app was loaded.
  source = <<~'CONFIG'
    require "push_server"
    PushServer.channel "kept", history: 1000, ttl: nil
    RELEASE = File.read("release").strip

    Subscriber = Class.new { def on_open(client) = client.subscribe("kept") }

    run(lambda do |env|
      env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
      PushServer.publish("kept", env["QUERY_STRING"].delete_prefix("publish=")) if env["QUERY_STRING"].start_with?("publish=")
      [200, {}, ["#{RELEASE} #{Process.pid}"]]
    end)
  CONFIG

  def start_cluster(source, configuration, **how)
    start_app(source, files: { "release" => "one", "config/push_server.rb" => configuration }, **how)
    eventually("all workers to serve") { app.tree.workers.size == 2 }
  end

  def write(name, text) = File.write(File.join(app.dir, name), text)

  # Restarts, and waits until the last worker from before has gone.
  def restart
    former = app.tree.workers.map(&:pid)
    app.signal("USR2")
    eventually("all workers to be replaced", seconds: 30) { (app.tree.workers.map(&:pid) & former).empty? }
  end

  # On a connection that is closed then: a worker that drains waits a while for the next request of an idle one.
  def fetch(target)
    client = http
    client.get(target).body
  ensure
    client&.close
  end

  def release = fetch("/").split.first

  it "keeps its pid, and serves new code with a new configuration" do
    start_cluster(source, "workers 2\n")
    write("release", "two")
    write("config/push_server.rb", "workers 3\n")
    restart

    expect(release).to eq("two")
    expect_eventually("three workers") { app.tree.workers.map(&:number).sort == [1, 2, 3] }
    expect(app).to be_running
    expect(app.stop).to be_success
  end

  it "can be done again and again" do
    start_cluster(source, "workers 2\n")
    %w[two three four].each do |code|
      write("release", code)
      restart
      expect(release).to eq(code)
    end
    expect(app.tree.leaders.size).to eq(1)
    expect(app.stop).to be_success
  end

  it "opens sockets that are new, and closes those that are gone" do
    configuration = "workers 2\nbind 'tcp://127.0.0.1:0'\nbind \"unix://\#{Dir.pwd}/first.sock\"\n"
    start_cluster(source, configuration, via: :configured)
    write("config/push_server.rb", configuration.sub("first", "second"))
    restart

    expect(release).to eq("one")
    expect(closing(HttpClient.new(Addrinfo.unix(File.join(app.dir, "second.sock")))).get("/").status).to eq(200)
    expect_eventually("the file of the first socket to be gone") { !File.exist?(File.join(app.dir, "first.sock")) }
    expect(app.stop).to be_success
  end

  it "removes the pidfile that is gone, and writes the one that is new" do
    start_cluster(source, "workers 2\npidfile 'first.pid'\n")
    write("config/push_server.rb", "workers 2\npidfile 'second.pid'\n")
    restart
    expect(File.read(File.join(app.dir, "second.pid")).to_i).to eq(app.pid)
    expect(File.exist?(File.join(app.dir, "first.pid"))).to be(false)
    eventually("the restart to be done") { app.lines.grep(/phased restart is done/).any? }
    write("config/push_server.rb", "workers 2\n")
    restart
    expect(Dir.children(app.dir).grep(/pid/)).to eq([])
    expect(app.stop).to be_success
  end

  it "leaves no file of a socket that is gone, if the server is stopped before the restart has closed it" do
    configuration = "workers 2\nbind 'tcp://127.0.0.1:0'\n"
    start_cluster(source, "#{configuration}bind \"unix://\#{Dir.pwd}/first.sock\"\n", via: :configured)
    write("config/push_server.rb", configuration)
    write("config.ru", "raise 'no database'")
    app.signal("USR2")
    expect_line(/the phased restart is given up/)
    expect(closing(HttpClient.new(Addrinfo.unix(File.join(app.dir, "first.sock")))).get("/").status).to eq(200)
    app.signal("TERM")
    app.wait_for_line(/\* Stopped/)
    expect(File.exist?(File.join(app.dir, "first.sock"))).to be(false)
    expect(app.wait).to be_success
  end

  it "loses no message of a channel with history" do
    start_cluster(source, "workers 2\n")
    client = closing(SseClient.new(app.address, "/"))
    id = client.read_event.id
    client.close
    fetch("/?publish=before")
    restart
    fetch("/?publish=after")

    client = closing(SseClient.new(app.address, "/", headers: { "last-event-id" => id }))
    open, *messages = Array.new(3) { client.read_event }
    expect(JSON.parse(open.data)).to eq("recovered" => true, "gap" => [])
    expect(messages.map(&:data)).to eq(%w[before after])
    expect(app.stop).to be_success
  end

  [0, 0.1, 0.3, 0.6].each do |delay|
    it "stops at a TERM that comes #{delay} s after USR2, and leaves no process behind" do
      start_cluster(source, "workers 2\n")
      app.signal("USR2")
      sleep delay # The moment matters, not the wait: during the check, the exec, or the phased restart.
      app.signal("TERM")
      app.wait
      expect_eventually("no process of the server to run") { processes.empty? }
    end
  end

  it "stops at a TERM that comes just before the exec" do
    start_cluster(source, "workers 2\nbefore_restart { Process.kill(:TERM, Process.pid) }\n")
    app.signal("USR2")
    expect(app.wait).to be_success
    expect(app.lines.grep(/Executed push_server/)).to eq([])
    expect_eventually("no process of the server to run") { processes.empty? }
  end

  # The pids of what runs in the app's process group.
  def processes
    Dir.children("/proc").grep(/\A\d+\z/).select do |pid|
      state, _, group = File.read("/proc/#{pid}/stat")[/\) (.*)/m, 1].split
      group.to_i == app.pid && state != "Z"
    rescue SystemCallError
      false
    end
  end
end
