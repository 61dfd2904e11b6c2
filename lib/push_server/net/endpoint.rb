# frozen_string_literal: true

require "socket"
require_relative "../errors"

module PushServer
  # One place to listen, as `bind` names it: tcp://host:port. Frozen; any thread.
  class Endpoint
    URL = %r{\Atcp://(?<host>\[[\h:.]+(?:%\w+)?\]|[^\s:/\[\]@?#]+)(?::(?<port>\d+))?/?\z}
    private_constant :URL

    # The host as it was written, without the brackets of an IPv6 address.
    attr_reader :host
    # @return [Integer] 0: the system chooses
    attr_reader :port

    # @param url [String] tcp://host or tcp://host:port
    # @param port [Integer] the port when the URL has none
    # @raise [OptionError]
    def self.parse(url, port:)
      match = URL.match(url)
      wanted = "give tcp://host:port, such as tcp://127.0.0.1:9292 or tcp://[::1]:9292"
      raise OptionError, "cannot listen on #{url.inspect}: #{wanted}" unless match

      port = match[:port].to_i if match[:port]
      raise OptionError, "cannot listen on #{url.inspect}: a port is a number from 0 to 65535" if port > 65_535

      new(match[:host].delete("[]"), port)
    end

    def initialize(host, port)
      @host = host.freeze
      @port = port
      freeze
    end

    # The addresses the host stands for. More than one where it has both families: localhost, and "every address" (*
    # and ::, which elsewhere is one socket for both; here IPv4 has its own, so that REMOTE_ADDR is never ::ffff:1.2.3.4).
    # @return [Array<String>]
    # @raise [BindError] if the name does not resolve
    def addresses
      case host
      when "localhost" then %w[127.0.0.1 ::1]
      when "*", "::" then %w[0.0.0.0 ::]
      else Addrinfo.getaddrinfo(host, nil, nil, :STREAM).map(&:ip_address).uniq
      end
    rescue SocketError
      raise BindError, "cannot listen on #{self}: there is no host of that name"
    end

    # What stands in SERVER_NAME and in the URL for one of the addresses.
    def name_for(address)
      return host if host == "localhost"

      # Without the zone of a link-local address, which no URL can have.
      address.include?(":") ? "[#{address[/[^%]+/]}]" : address
    end

    # @return [String] the URL
    def to_s = "tcp://#{host.include?(":") ? "[#{host}]" : host}:#{port}"
  end
end
