# frozen_string_literal: true

require "fileutils"
require "socket"
require "tmpdir"
require_relative "app_process"

# A proxy as a child process, with its own folder and port, configured by a file of docs/deployment. The subclasses say which
# program, which file, and what of it depends on the place.
class Proxy
  DOCS = File.join(AppProcess::ROOT, "docs/deployment")

  # What the installed program says of its version; nil if there is none.
  def self.version
    IO.popen(self::VERSION, err: %i[child out], &:read)
  rescue Errno::ENOENT
    nil
  end

  # Why examples with this proxy cannot run here; nil if they can.
  def self.missing = version ? nil : "There is no #{self::VERSION.first} here"

  attr_reader :port

  # Starts the proxy. app: the AppProcess that it passes connections to, by TCP or a Unix socket. options: for `configuration`.
  def initialize(app, **options)
    @port = Addrinfo.tcp("127.0.0.1", 0).bind { |socket| socket.local_address.ip_port }
    @dir = Dir.mktmpdir("push_server-proxy")
    File.write(path, configuration(app.address, **options))
    @log = File.join(@dir, "log")
    # With its home in the folder: Caddy writes there.
    @pid = spawn({ "HOME" => @dir, "XDG_CONFIG_HOME" => @dir, "XDG_DATA_HOME" => @dir }, *command,
                 pgroup: true, in: File::NULL, %i[out err] => @log)
  end

  # What clients connect to.
  def address = Addrinfo.tcp("127.0.0.1", port)

  def listening?
    TCPSocket.new("127.0.0.1", port).close
    true
  rescue Errno::ECONNREFUSED
    Process.wait(@pid, Process::WNOHANG) and raise "the proxy has ended:\n#{File.read(@log)}"
    false
  end

  # The signal must end the processes that it has started, too.
  def stop(signal = "TERM")
    Process.kill(signal, @pid)
    Process.wait(@pid)
    FileUtils.remove_entry(@dir)
    $?
  end

  private

  def path = File.join(@dir, self.class::FILE)

  # The text of a file of docs/deployment, with changes: text => the text in its place.
  def documented(name, changes)
    changes.reduce(File.read(File.join(DOCS, name))) do |text, (old, new)|
      text.include?(old) or raise "#{name} does not say #{old.inspect}"
      text.sub(old) { new }
    end
  end
end
