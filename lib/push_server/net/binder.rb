# frozen_string_literal: true

require "socket"
require_relative "endpoint"

module PushServer
  # Opens the listening sockets. One thread at a time.
  class Binder
    # One listening socket. `name` is what stands in SERVER_NAME: the host as the user wrote it.
    Listener = Struct.new(:socket, :address, :port, :name) do
      # @return [String] where a browser finds it
      def url = "http://#{name}:#{port}"

      # @return [Integer] the socket's descriptor
      def fileno = socket.fileno
    end

    BACKLOG = 1024
    # A free port of one family may be taken in the other.
    FREE_PORT_ATTEMPTS = 20
    # The machine, or its container, does not have this address family.
    ABSENT = [Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT].freeze
    private_constant :BACKLOG, :FREE_PORT_ATTEMPTS, :ABSENT

    # @return [Array<Listener>] what has been bound, in order
    attr_reader :listeners

    # @param urls [Array<String>] where to listen; see Endpoint
    # @param port [Integer] for URLs without one
    # @raise [OptionError] for a URL that is none
    def initialize(urls, port: 9292)
      @endpoints = urls.map { |url| Endpoint.parse(url, port: port) }
      @listeners = []
    end

    # Binds and listens on all endpoints, or on none.
    # @raise [BindError] naming the endpoint and the cure
    def bind
      @endpoints.each { |endpoint| @listeners.concat(open(endpoint)) }
      self
    rescue Exception # rubocop:disable Lint/RescueException -- an Interrupt leaks no socket either
      close
      raise
    end

    # Where browsers find the server, ports resolved.
    def urls = @listeners.map(&:url).uniq

    # Closes the sockets. What was duplicated from them stays open.
    def close
      @listeners.each { |listener| listener.socket.close }
      @listeners = []
      nil
    end

    private

    def open(endpoint)
      attempts = 0
      begin
        open_all(endpoint, endpoint.addresses)
      rescue Errno::EADDRINUSE
        retry if endpoint.port.zero? && (attempts += 1) < FREE_PORT_ATTEMPTS
        raise
      end
    rescue SystemCallError => e
      raise BindError, "cannot listen on #{endpoint}: #{explain(e, endpoint)}"
    end

    # All addresses on one port: for port 0 the one the first address was given.
    def open_all(endpoint, addresses)
      port = endpoint.port
      opened = []
      absent = nil
      addresses.each do |address|
        socket = listen(address, port)
        port = socket.local_address.ip_port
        opened << Listener.new(socket, address, port, endpoint.name_for(address))
      rescue *ABSENT => e
        absent = e
      end
      opened.empty? ? raise(absent) : opened
    rescue Exception # rubocop:disable Lint/RescueException
      opened&.each { |listener| listener.socket.close }
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

    def explain(error, endpoint)
      case error
      when Errno::EADDRINUSE
        "the port is in use. Stop what listens there, or choose another with --port or --bind"
      when Errno::EACCES
        "the system reserves ports below 1024. Choose a higher one, or give this process CAP_NET_BIND_SERVICE"
      when Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT, Errno::EPROTONOSUPPORT
        "this machine does not have the address #{endpoint.host}"
      else
        error.message
      end
    end
  end
end
