# frozen_string_literal: true

require "socket"
require_relative "socket_file"

module PushServer
  # A socket that listens, and what it is called in envs and in the log. One thread at a time.
  class Listener
    # @return [Socket] closed by {#close}
    attr_reader :socket
    # @return [String] where people find it: http://host:port, https://host:port or unix:///path
    attr_reader :url
    # @return [Certificates, nil] those of a listener that encrypts its connections, in the process that has read them
    attr_reader :certificates
    # @return [String] SERVER_NAME of a request without Host
    attr_reader :server_name
    # @return [String] SERVER_PORT of a request without Host
    attr_reader :server_port

    # A listener for a TCP socket.
    # @param name [String, nil] its host, for people; nil: the address
    def self.tcp(socket, name: nil)
      address = socket.local_address
      # Without the zone of a link-local address, which no URL can have.
      name ||= address.ipv6? ? "[#{address.ip_address[/[^%]+/]}]" : address.ip_address
      # A socket for every address has no name of its own.
      server_name = %w[0.0.0.0 [::]].include?(name) ? "localhost" : name
      new(socket, url: "http://#{name}:#{address.ip_port}", server_name: server_name, server_port: address.ip_port.to_s)
    end

    # A listener for a Unix socket.
    # @param file [SocketFile, nil] what {#retire} removes
    def self.unix(socket, path, file: nil)
      # The env needs a name and a port. These are Puma's, too.
      new(socket, url: unix_url(path), server_name: "localhost", server_port: "80", file: file)
    end

    # @return [String] unix:///path, with %XX for bytes that have a meaning in URLs or lists, or cannot be printed
    def self.unix_url(path)
      "unix://#{path.b.gsub(%r{[^\w/.~!$&'()*+;=:@-]}n) { |byte| format("%%%02X", byte.ord) }}".encode(Encoding::UTF_8)
    end

    # A listener whose socket has come from another process, with what {#description} said there.
    # @param socket [Socket]
    # @param description [Hash{String, Symbol => Object}]
    # @raise [KeyError] if the description is not complete
    def self.described(socket, description)
      description = description.transform_keys(&:to_sym)
      file = description[:file] && SocketFile.known(**description[:file].transform_keys(&:to_sym))
      new(socket, **description.slice(:url, :server_name, :server_port), file: file)
    rescue ArgumentError => e
      raise KeyError, e.message
    end

    def initialize(socket, url:, server_name:, server_port:, file: nil)
      @socket = socket
      @url = url.freeze
      @server_name = server_name.freeze
      @server_port = server_port.freeze
      @file = file
    end

    # Encrypts its connections from now on. Idempotent.
    # @param certificates [Certificates, Hash] these; or, in a worker, their content, see {Certificates#content}
    def secure(certificates)
      @url = url.sub(/\Ahttp:/, "https:").freeze
      certificates.is_a?(Hash) ? @tls = certificates : @certificates = certificates
    end

    # @return [Hash{Symbol => Object}, nil] what the native server needs to encrypt connections; nil if they are not encrypted
    def tls = certificates ? certificates.content : @tls

    # @return [String] of its requests' URLs, rack.url_scheme: "http" or "https"
    def scheme = url.start_with?("https:") ? "https" : "http"

    # @return [Integer] the socket's descriptor
    def fileno = socket.fileno

    # @return [Integer] the port of a TCP socket
    def port = server_port.to_i

    # What another process needs to know about the socket, beside its descriptor; JSON can represent it.
    # @param file [Boolean] whether the other process is to remove the file of a Unix socket
    # @return [Hash{Symbol => Object}] for {.described}
    def description(file: false)
      described = { url: url, server_name: server_name, server_port: server_port }
      file && @file ? described.merge(file: @file.description) : described
    end

    # Closes the socket in this process. What was duplicated from it stays open. Idempotent.
    def close = socket.close

    # Removes the file of a Unix socket that this process has made, and closes the socket. Idempotent.
    def retire
      @file&.remove
      close
    end
  end
end
