# frozen_string_literal: true

require "fileutils"
require "socket"
require "tmpdir"

# HAProxy as a child process, which passes on bytes and sends the PROXY protocol, version 2, with health checks.
class HAProxy
  attr_reader :port

  # The version of the installed HAProxy; nil if there is none.
  def self.version
    output = IO.popen(%w[haproxy -v], err: %i[child out], &:read)
    output[/version (\S+)/, 1]
  rescue Errno::ENOENT
    nil
  end

  # app: the AppProcess that it passes connections to, by TCP or a Unix socket.
  def initialize(app)
    @port = Addrinfo.tcp("127.0.0.1", 0).bind { |socket| socket.local_address.ip_port }
    @dir = Dir.mktmpdir("push_server-haproxy")
    target = app.address.unix? ? "unix@#{app.address.unix_path}" : app.address.inspect_sockaddr
    path = File.join(@dir, "haproxy.cfg")
    File.write(path, <<~CONFIG)
      defaults
        mode tcp
        timeout connect 10s
        timeout client 60s
        timeout server 60s
      listen app
        bind 127.0.0.1:#{port}
        server app #{target} send-proxy-v2 check inter 100ms
    CONFIG
    @pid = spawn("haproxy", "-db", "-f", path, pgroup: true, err: File::NULL)
  end

  def listening?
    TCPSocket.new("127.0.0.1", port).close
    true
  rescue Errno::ECONNREFUSED
    false
  end

  def stop
    Process.kill("KILL", @pid)
    Process.wait(@pid)
    FileUtils.remove_entry(@dir)
  end
end
