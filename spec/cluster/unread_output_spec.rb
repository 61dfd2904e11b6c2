# frozen_string_literal: true

require "spec_helper"
require "io/nonblock"

# stdout and stderr of a server are often a pipe to a collector of logs, which may hang.
RSpec.describe "A server whose output is not read", transport: :tcp do
  # A full pipe that is the server's stdout and stderr.
  around do |example|
    Dir.mktmpdir do |dir|
      File.mkfifo(File.join(dir, "pipe"))
      File.open(File.join(dir, "pipe"), "r+") do |pipe|
        @dir, @pipe = dir, pipe
        # The server's own descriptor of the pipe is another one, which blocks.
        pipe.nonblock = true
        fill
        example.run
      end
    end
  end

  def fill
    loop { break if @pipe.write_nonblock("x" * 4096, exception: false) == :wait_writable }
  end

  # Reads all that is there.
  def unread
    text = +""
    while (part = @pipe.read_nonblock(1 << 16, exception: false)).is_a?(String)
      text << part
    end
    text.delete_prefix("x" * text[/\Ax*/].size)
  end

  # @return [Integer] the pid of the process that answers
  def served_by
    client = HttpClient.new(Addrinfo.unix(File.join(@dir, "server.sock")))
    Integer(client.get("/").body)
  rescue SystemCallError
    nil
  ensure
    client&.close
  end

  def serve(*options)
    command = [RbConfig.ruby, File.join(AppProcess::ROOT, "exe/push_server"), "-b", "unix://#{@dir}/server.sock", *options]
    File.write(File.join(@dir, "config.ru"), Clusters::PIDS)
    # The hook runs when the first lines have been written, or lost.
    FileUtils.mkdir(File.join(@dir, "config"))
    File.write(File.join(@dir, "config/push_server.rb"), "after_booted { File.write('boots', 'x', mode: 'a') }")
    File.write(File.join(@dir, "start.rb"), "exec(*#{command.inspect}, out: ['pipe', 'w'], err: [:child, :out])")
    launch_app("start.rb", via: :ruby, dir: @dir)
    expect_boots(1)
  end

  def expect_boots(count)
    expect_eventually("#{count} starts") { File.size?(File.join(@dir, "boots")) == count }
  end

  it "replaces a worker that is killed, restarts and stops" do
    serve("-w", "1")
    killed = served_by
    Process.kill("KILL", killed)
    expect_eventually("another worker") { ![nil, killed].include?(served_by) }
    before = served_by
    app.signal("USR2")
    expect_eventually("the restart") { ![nil, before].include?(served_by) }
    expect(app.stop).to be_success
  end

  it "restarts and stops with one process" do
    serve
    app.signal("USR2")
    expect_boots(2)
    expect(served_by).to eq(app.pid)
    expect(app.stop).to be_success
  end

  { "workers" => ["-w", "1"], "one process" => [] }.each do |mode, options|
    it "tells a reader that comes later how many lines are missing: #{mode}" do
      serve(*options)
      unread
      expect(app.stop).to be_success
      expect(unread).to match(/^\[push_server\] warn: \d+ lines are missing here, because no process has read them\n\* Stopping/)
    end
  end
end
