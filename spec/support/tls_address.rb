# frozen_string_literal: true

require "openssl"
require "socket"
require_relative "certificate_authority"

# The address of a server with TLS, and how clients connect to it. For RawConnection and what is built on it.
class TlsAddress < Addrinfo
  # address: an Addrinfo. options: those of a context, and `name`, for SNI; `session`, to be resumed; `client`, a certificate of a
  # CertificateAuthority; `verify`, whether the server's certificate is checked.
  def self.of(address, **options)
    new(address.to_sockaddr, address.pfamily, address.socktype, address.protocol).tap { |made| made.options.update(options) }
  end

  def options = @options ||= {}

  # The same address with other options.
  def with(**options) = self.class.of(self, **self.options, **options)

  # Does the handshake over a connected socket.
  # Returns an OpenSSL::SSL::SSLSocket.
  def encrypt(socket, deadline)
    tls = OpenSSL::SSL::SSLSocket.new(socket, context)
    tls.hostname = options.fetch(:name, "localhost") if options.fetch(:name, "localhost")
    tls.session = options[:session] if options[:session]
    until (wanted = tls.connect_nonblock(exception: false)) == tls
      ready = wanted == :wait_readable ? socket.wait_readable(deadline.remaining) : socket.wait_writable(deadline.remaining)
      ready or deadline.check!("the TLS handshake")
    end
    tls
  end

  private

  def context
    context = OpenSSL::SSL::SSLContext.new
    context.verify_mode = options.fetch(:verify, true) ? OpenSSL::SSL::VERIFY_PEER : OpenSSL::SSL::VERIFY_NONE
    context.cert_store = CertificateAuthority.default.store
    context.verify_hostname = false
    context.session_cache_mode = OpenSSL::SSL::SSLContext::SESSION_CACHE_CLIENT
    context.session_new_cb = ->((_, session)) { options[:sessions]&.push(session) }
    (client = options[:client]) && context.add_certificate(client.certificate, client.private_key)
    options.slice(:min_version, :max_version, :ciphers, :alpn_protocols).each { |name, value| context.public_send("#{name}=", value) }
    context
  end
end
