# frozen_string_literal: true

require_relative "proxy"

# HAProxy with docs/deployment/haproxy.cfg, or, in mode tcp, with haproxy_tcp.cfg: it passes on bytes and sends the PROXY
# protocol, version 2.
class HAProxy < Proxy
  VERSION = %w[haproxy -v].freeze
  FILE = "haproxy.cfg"

  private

  # mode: :http or :tcp, which passes on bytes, also those of TLS. site: directives for the frontend. http2: whether HAProxy speaks
  # it with the app.
  def configuration(address, mode: :http, site: "", http2: false)
    target = address.unix? ? "unix@#{address.unix_path}" : address.inspect_sockaddr
    documented(mode == :tcp ? "haproxy_tcp.cfg" : FILE,
               "bind :80\n" => "bind 127.0.0.1:#{port}\n#{site}", "127.0.0.1:3000" => target,
               " check\n" => [" check inter 100ms", *(to_app(address, http2) if mode == :http)].join(" ") + "\n")
  end

  def to_app(address, http2)
    return ("proto h2" if http2) unless address.is_a?(TlsAddress)

    "ssl verify required verifyhost localhost ca-file #{CertificateAuthority.default.cert} alpn #{http2 ? "h2" : "http/1.1"}"
  end

  def command = ["haproxy", "-db", "-f", path]
end
