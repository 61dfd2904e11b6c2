# frozen_string_literal: true

require "spec_helper"

# The column of docs/signals.md about one process. spec/cli_stopping_spec.rb has how it stops, spec/cluster/single_restart_spec.rb
# how it restarts, and spec/cluster/commands_spec.rb the commands.
RSpec.describe "Signals to a server in a single process", transport: :tcp do
  serve <<~'CONFIG', "--access-log", "common", "--access-log-file", "access.log"
    Echo = Class.new { def on_message(client, data) = client.write(data) }

    run(lambda do |env|
      env["rack.upgrade"] = Echo.new if env["rack.upgrade?"]
      [200, {}, [Process.pid.to_s]]
    end)
  CONFIG

  targets = Clusters::TARGETS.slice("the supervisor", "the process group").transform_keys { |name| name.sub("supervisor", "process") }

  # Sends it, while there is a WebSocket that must not notice. From then on, {#news} are the lines after it.
  def send_signal(signal, kill)
    socket = websocket
    @before = app.lines.size
    kill.call([app.pid], signal)
    yield
    socket.text("still here")
    expect(socket.read_message).to eq("still here")
    expect(get("/").body.to_i).to eq(app.pid)
  end

  def expect_news(pattern) = expect_eventually("the line #{pattern.inspect}") { app.lines.drop(@before).grep(pattern).any? }

  targets.each do |target, kill|
    it "HUP to #{target} opens the log file anew" do
      file = File.join(app.dir, "access.log")
      File.rename(file, "#{file}.1")
      send_signal("HUP", kill) { expect_eventually("a new file") { File.exist?(file) } }
      expect_eventually("the request") { File.read(file).include?("GET / ") }
    end

    it "PWR to #{target} logs the backtraces of all threads" do
      send_signal("PWR", kill) { expect_news(/backtraces of \d+ threads of process #{app.pid}/) }
    end

    { "USR1" => /USR2 or `push_server restart` restarts it/, "TTIN" => /-w N starts workers/, "TTOU" => /-w N starts workers/ }
      .each do |signal, advice|
        it "#{signal} to #{target} does nothing; the log says what does" do
          send_signal(signal, kill) { expect_news(/the signal #{signal} has no meaning here: .*#{advice}/) }
        end
      end
  end
end
