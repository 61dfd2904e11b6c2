# frozen_string_literal: true

require_relative "proxy"

# HAProxy with docs/deployment/haproxy.cfg, or, in mode tcp, with haproxy_tcp.cfg: it passes on bytes and sends the PROXY
# protocol, version 2.
class HAProxy < Proxy
  VERSION = %w[haproxy -v].freeze
  FILE = "haproxy.cfg"

  private

  # mode: :http or :tcp. site: directives for the frontend.
  def configuration(address, mode: :http, site: "")
    target = address.unix? ? "unix@#{address.unix_path}" : address.inspect_sockaddr
    documented(mode == :tcp ? "haproxy_tcp.cfg" : FILE,
               "bind :80\n" => "bind 127.0.0.1:#{port}\n#{site}", "127.0.0.1:3000" => target, " check\n" => " check inter 100ms\n")
  end

  def command = ["haproxy", "-db", "-f", path]
end
