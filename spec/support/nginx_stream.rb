# frozen_string_literal: true

require_relative "nginx"

# nginx with docs/deployment/nginx_stream.conf: it passes on bytes and sends the PROXY protocol. Its stream module may be a file of its
# own.
class NginxStream < Nginx
  FILE = "nginx_stream.conf"
  MODULE = "ngx_stream_module.so"
  # The first version that can send version 2 of the protocol.
  VERSION2 = Gem::Version.new("1.31.4")

  class << self
    def missing = super || ("There is no stream module of nginx here" unless built_in? || module_file)

    # Why examples with version 2 cannot run here; nil if they can.
    def without_version2 = missing || ("This nginx sends only version 1 of the PROXY protocol" if number < VERSION2)

    def built_in? = version.match?(/--with-stream( |$)/)

    # Beside the folder of nginx, or of another package in PATH.
    def module_file
      folders = ENV.fetch("PATH").split(":") << "/usr/sbin"
      folders.map { |folder| File.expand_path("../lib/nginx/modules/#{MODULE}", folder) }.find { |path| File.exist?(path) }
    end

    private

    def number = Gem::Version.new(version[%r{nginx/([\d.]+)}, 1])
  end

  # With its build options.
  VERSION = %w[nginx -V].freeze

  private

  # sends: the version of the protocol.
  def configuration(address, sends: 2)
    target = address.unix? ? "unix:#{address.unix_path}" : address.inspect_sockaddr
    changes = { "listen 443;" => "listen 127.0.0.1:#{port};", "127.0.0.1:3000;" => "#{target};" }
    changes["proxy_protocol v2;"] = "proxy_protocol on;" if sends == 1
    <<~CONFIG
      #{"load_module #{self.class.module_file};" unless self.class.built_in?}
      daemon off;
      worker_processes 1;
      pid #{@dir}/pid;
      error_log stderr;
      #{"user root;" if Process.uid.zero?}
      events { }
      #{documented(FILE, changes)}
    CONFIG
  end

  def command = ["nginx", "-p", @dir, "-c", FILE, "-e", "stderr"]
end
