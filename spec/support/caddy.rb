# frozen_string_literal: true

require_relative "proxy"

# Caddy with docs/deployment/Caddyfile, without TLS.
class Caddy < Proxy
  VERSION = %w[caddy version].freeze
  FILE = "Caddyfile"

  private

  # site: directives for the site. http2: whether Caddy speaks it with the app. With TLS it always does.
  def configuration(address, site: "", http2: false)
    upstream = address.unix? ? "unix/#{address.unix_path}" : address.inspect_sockaddr
    changes = { "example.com {" => "http://:#{port} {\n\tbind 127.0.0.1\n#{site}", "127.0.0.1:3000" => upstream }
    if address.is_a?(TlsAddress)
      changes["127.0.0.1:3000"] = "https://#{upstream}"
      changes["transport http {"] = "transport http {\n\ttls_trusted_ca_certs #{CertificateAuthority.default.cert}"
    elsif http2
      changes["127.0.0.1:3000"] = "h2c://#{upstream}"
    end
    # For any name of the host. Without the port on which Caddy can be asked to change its configuration.
    text = documented(FILE, changes)
    "{\n\tadmin off\n}\n#{text}"
  end

  def command = ["caddy", "run", "--adapter", "caddyfile", "--config", path]
end
