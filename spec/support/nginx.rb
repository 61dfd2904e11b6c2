# frozen_string_literal: true

require_relative "proxy"

# nginx with docs/deployment/nginx.conf.
class Nginx < Proxy
  VERSION = %w[nginx -v].freeze
  FILE = "nginx.conf"

  private

  # more: directives for the location. site: for the server.
  def configuration(address, more: "", site: "")
    upstream = address.unix? ? "unix:#{address.unix_path}" : address.inspect_sockaddr
    changes = { "listen 80;" => "listen 127.0.0.1:#{port};\n#{site}", "127.0.0.1:3000;" => "#{upstream};",
                "location / {" => "location / {\n#{more}" }
    changes["proxy_pass http://app;"] = <<~TLS if address.is_a?(TlsAddress)
      proxy_pass https://app;
      proxy_ssl_name localhost;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate #{CertificateAuthority.default.cert};
    TLS
    text = documented("nginx.conf", changes)
    <<~CONFIG
      daemon off;
      worker_processes 1;
      pid #{@dir}/pid;
      error_log stderr;
      #{"user root;" if Process.uid.zero?}
      events { }
      http {
        access_log off;
        #{%w[client_body proxy fastcgi uwsgi scgi].map { |name| "#{name}_temp_path #{@dir}/#{name};" }.join}
        #{text}
      }
    CONFIG
  end

  def command = ["nginx", "-p", @dir, "-c", FILE, "-e", "stderr"]
end
