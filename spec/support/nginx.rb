# frozen_string_literal: true

require "fileutils"
require "socket"
require "tmpdir"
require_relative "app_process"

# nginx as a child process, with its own folder and port.
class Nginx
  attr_reader :port

  # The version of the installed nginx; nil if there is none.
  def self.version
    IO.popen(%w[nginx -v], err: %i[child out], &:read)
  rescue Errno::ENOENT
    nil
  end

  # Starts nginx with the configuration of docs/proxies.md. app: the AppProcess that it passes requests to, by TCP or a Unix
  # socket. more: directives for the location.
  def initialize(app, more: "")
    @port = Addrinfo.tcp("127.0.0.1", 0).bind { |socket| socket.local_address.ip_port }
    @dir = Dir.mktmpdir("push_server-nginx")
    File.write(File.join(@dir, "nginx.conf"), <<~CONFIG)
      daemon off;
      worker_processes 1;
      pid #{@dir}/pid;
      error_log stderr;
      #{"user root;" if Process.uid.zero?}
      events { }
      http {
        access_log off;
        #{%w[client_body proxy fastcgi uwsgi scgi].map { |name| "#{name}_temp_path #{@dir}/#{name};" }.join}
        #{documented(app.address, more)}
      }
    CONFIG
    @pid = spawn("nginx", "-p", @dir, "-c", "nginx.conf", "-e", "stderr", pgroup: true)
  end

  def listening?
    TCPSocket.new("127.0.0.1", port).close
    true
  rescue Errno::ECONNREFUSED
    false
  end

  # TERM ends the master, which ends its worker. A killed master would leave the worker.
  def stop
    Process.kill("TERM", @pid)
    Process.wait(@pid)
    FileUtils.remove_entry(@dir)
    $?
  end

  private

  def documented(address, more)
    upstream = address.unix? ? "unix:#{address.unix_path}" : address.inspect_sockaddr
    config = File.read(File.join(AppProcess::ROOT, "docs/proxies.md"))[/^```nginx\n(.*?)^```$/m, 1]
    { "listen 80;" => "listen 127.0.0.1:#{port};", "127.0.0.1:9292;" => "#{upstream};",
      "location / {" => "location / {\n#{more}" }.each do |old, new|
      config.sub!(old, new) or raise "docs/proxies.md does not say #{old.inspect}"
    end
    config
  end
end
