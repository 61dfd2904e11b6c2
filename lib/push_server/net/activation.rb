# frozen_string_literal: true

require "socket"
require_relative "endpoint"

module PushServer
  # The sockets that systemd, or another program with the same protocol, has opened for this process: sd_listen_fds(3). They
  # are used instead of binding: by their name (fd://NAME), or because they listen where an endpoint would. Not thread-safe.
  class Activation
    # The variables of the protocol. They are only for the process that systemd has started.
    VARIABLES = %w[LISTEN_PID LISTEN_FDS LISTEN_FDNAMES LISTEN_PIDFDID].freeze
    FIRST = 3
    ANY = %w[0.0.0.0 ::].freeze
    Passed = Struct.new(:number, :name, :listener, :socket)
    private_constant :FIRST, :ANY, :Passed

    class << self
      # Those of this process. The first call takes the variables out of the environment, so that programs that the app
      # starts do not see them.
      # @return [Activation]
      def current = @current ||= take(ENV)

      # @param env [#delete] the environment variables
      # @return [Activation] empty if nothing was passed, or if it was meant for another process
      def take(env)
        pid, count, names, = VARIABLES.map { |variable| env.delete(variable) }
        return new({}) unless pid.to_s == Process.pid.to_s && count.to_s.match?(/\A\d{1,6}\z/)

        numbers = (FIRST...(FIRST + count.to_i)).to_a
        new(numbers.zip(names.to_s.split(":")).to_h)
      end
    end

    # @param names [Hash{Integer => String, nil}] the name of each descriptor
    def initialize(names)
      @passed = names.filter_map { |number, name| pass(number, name) }
    end

    # @return [Boolean] whether none is left to be claimed
    def empty? = @passed.empty?

    # Takes over what this process had of them before it executed itself anew.
    # @param inheritance [#places, #claim]
    # @return [self]
    def add(inheritance)
      inheritance.places.grep(%r{\Afd://}).each do |place|
        inheritance.claim(place).each { |listener|
          @passed << Passed.new(nil, place.delete_prefix("fd://"), listener, listener.socket)
        }
      end
      self
    end

    # Where a server with these options listens: if the user has not said so, on what was passed.
    # @param options [Options]
    # @return [Array<String>] URLs; see {Endpoint}
    def binds(options)
      options.binds? || empty? ? options.binds : @passed.map { |passed| "fd://#{passed.number || passed.name}" }.uniq
    end

    # The listeners for an endpoint, which belong to the caller from now on.
    # @param endpoint [Endpoint::Tcp, Endpoint::Unix, Endpoint::Descriptor]
    # @return [Array<Listener>, nil] nil if there are none
    # @raise [BindError] if one of that name is no stream socket that listens
    def claim(endpoint)
      found, @passed = @passed.partition { |passed| for?(passed, endpoint) }
      return if found.empty?

      found.map do |passed|
        passed.listener || raise(BindError, "cannot listen on #{endpoint}: it is not a stream socket that listens")
      end
    end

    # Closes the sockets that were not claimed.
    def close_rest
      @passed.each do |passed|
        PushServer.log(:warn, "the socket #{passed.name || passed.number} that systemd has passed is closed, because no bind " \
                              "names it#{": it listens on #{passed.listener.url}" if passed.listener}")
        passed.socket.close
      end
      @passed = []
    end

    private

    # A descriptor that is not there, or is no socket, may be for another part of the program.
    def pass(number, name)
      socket = Socket.for_fd(number)
      socket.close_on_exec = true
      Passed.new(number, name.to_s.empty? ? nil : name, Endpoint::Descriptor.listener(socket), socket)
    rescue SystemCallError, ArgumentError
      PushServer.log(:warn, "LISTEN_FDS names the descriptor #{number}, which is no socket")
      nil
    end

    def for?(passed, endpoint)
      case endpoint
      when Endpoint::Descriptor then [passed.number.to_s, passed.name].include?(endpoint.name)
      when Endpoint::Tcp then passed.listener && tcp?(passed.socket.local_address, endpoint)
      when Endpoint::Unix then passed.listener && unix?(passed.socket.local_address, endpoint)
      end
    end

    # systemd's ListenStream=3000 is one socket on [::] for both families. It is for any endpoint with all addresses.
    def tcp?(address, endpoint)
      return false unless address.ip? && address.ip_port == endpoint.port

      endpoint.any? ? ANY.include?(address.ip_address) : endpoint.addresses.include?(address.ip_address)
    end

    def unix?(address, endpoint) = address.unix? && address.unix_path.b == endpoint.path.b
  end
end
