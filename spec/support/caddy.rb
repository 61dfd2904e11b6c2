# frozen_string_literal: true

require_relative "proxy"

# Caddy with docs/deployment/Caddyfile, without TLS.
class Caddy < Proxy
  VERSION = %w[caddy version].freeze
  FILE = "Caddyfile"

  private

  # site: directives for the site.
  def configuration(address, site: "")
    upstream = address.unix? ? "unix/#{address.unix_path}" : address.inspect_sockaddr
    # For any name of the host. Without the port on which Caddy can be asked to change its configuration.
    text = documented(FILE, "example.com {" => "http://:#{port} {\n\tbind 127.0.0.1\n#{site}", "127.0.0.1:3000" => upstream)
    "{\n\tadmin off\n}\n#{text}"
  end

  def command = ["caddy", "run", "--adapter", "caddyfile", "--config", path]
end
