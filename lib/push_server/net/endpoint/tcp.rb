# frozen_string_literal: true

require "socket"
require_relative "../../errors"
require_relative "../listener"

module PushServer
  module Endpoint
    # tcp://host:port: one TCP socket for each address of the host.
    class Tcp
      URL = %r{\A\w+://(?<host>\[[\h:.]+(?:%\w+)?\]|[^\s:/\[\]@?#]+)(?::(?<port>\d+))?/?\z}
      WANTED = "give tcp://host:port, such as tcp://127.0.0.1:9292 or tcp://[::1]:9292"
      BACKLOG = 1024
      # A port that is free in one address family may be in use in the other.
      FREE_PORT_ATTEMPTS = 20
      # The machine, or its container, does not have this address family.
      ABSENT = [Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT].freeze
      private_constant :URL, :WANTED, :BACKLOG, :FREE_PORT_ATTEMPTS, :ABSENT

      # The host as it was written, without the brackets of an IPv6 address.
      attr_reader :host
      # @return [Integer] 0: the system chooses
      attr_reader :port

      # @param url [String] tcp://host or tcp://host:port
      # @param port [Integer] the port when the URL has none
      # @raise [OptionError]
      def self.parse(url, port:, **)
        # Somebody who names a certificate wants TLS.
        new(*host_and_port(url, port, url.include?("cert=") ? "give ssl://host:port?cert=PATH&key=PATH" : WANTED))
      end

      # @param wanted [String] what to say if the URL is another one
      # @return [Array(String, Integer)]
      # @raise [OptionError]
      def self.host_and_port(url, port, wanted)
        match = URL.match(url)
        raise OptionError, "cannot listen on #{url.inspect}: #{wanted}" unless match

        port = match[:port].to_i if match[:port]
        raise OptionError, "cannot listen on #{url.inspect}: a port is a number from 0 to 65535" if port > 65_535

        [match[:host].delete("[]"), port]
      end
      private_class_method :host_and_port

      def initialize(host, port)
        @host = host.dup.freeze
        @port = port
        freeze
      end

      # Makes sure that what it names can be used. Nothing here needs that.
      def prepare; end

      # Has listeners encrypt their connections, if that is asked for.
      # @param listeners [Array<Listener>]
      def secure(listeners); end

      # Binds a socket to each address and listens, all on one port.
      # @return [Array<Listener>]
      # @raise [BindError]
      def open
        attempts = 0
        begin
          open_all(addresses)
        rescue Errno::EADDRINUSE
          retry if port.zero? && (attempts += 1) < FREE_PORT_ATTEMPTS
          raise
        end
      rescue SystemCallError => e
        raise BindError, "cannot listen on #{self}: #{explain(e)}"
      end

      # @return [Tcp] with the port of these listeners in place of 0
      def bound_to(listeners) = Tcp.new(host, listeners.first.port)

      # @return [String]
      def to_s = "#{scheme}://#{host.include?(":") ? "[#{host}]" : host}:#{port}"

      # More than one where the host has both families: localhost, and "every address" (* and ::). On other systems ::
      # is one socket for both families. Here IPv4 has its own, so that REMOTE_ADDR is never ::ffff:1.2.3.4.
      # @return [Array<String>]
      # @raise [BindError] if there is no such host
      def addresses
        case host
        when "localhost" then %w[127.0.0.1 ::1]
        when "*", "::" then %w[0.0.0.0 ::]
        else Addrinfo.getaddrinfo(host, nil, nil, :STREAM).map(&:ip_address).uniq
        end
      rescue SocketError
        raise BindError, "cannot listen on #{self}: there is no host of that name"
      end

      # Whether it stands for all addresses of a family.
      def any? = ["*", "::", "0.0.0.0"].include?(host)

      private

      def scheme = "tcp"

      # For port 0, all addresses get the port that the first one was given.
      def open_all(addresses)
        number = port
        opened = []
        absent = nil
        addresses.each do |address|
          opened << Listener.tcp(listen(address, number), name: ("localhost" if host == "localhost"))
          number = opened.last.port
        rescue *ABSENT => e
          absent = e
        end
        opened.empty? ? raise(absent) : opened
      rescue Exception # rubocop:disable Lint/RescueException -- an Interrupt leaves no socket open either
        opened&.each(&:close)
        raise
      end

      def listen(address, port)
        target = Addrinfo.tcp(address, port)
        socket = Socket.new(target.afamily, :STREAM)
        socket.setsockopt(:SOCKET, :REUSEADDR, true)
        socket.setsockopt(:IPV6, :V6ONLY, true) if target.ipv6?
        socket.bind(target)
        socket.listen(BACKLOG)
        listening = socket
      ensure
        socket&.close unless listening
      end

      def explain(error)
        case error
        when Errno::EADDRINUSE
          "the port is in use. Stop what listens there, or choose another with --port or --bind"
        when Errno::EACCES
          "the system reserves ports below 1024. Choose a higher one, or give this process CAP_NET_BIND_SERVICE"
        when *ABSENT
          "this machine does not have the address #{host}"
        else
          error.message
        end
      end
    end
  end
end
