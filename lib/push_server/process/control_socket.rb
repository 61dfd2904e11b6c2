# frozen_string_literal: true

require_relative "inheritance"
require_relative "socket_places"

module PushServer
  # The control socket of a server, whatever its kind. One thread.
  class ControlSocket
    # Opens the socket, or takes it over from the program before this one.
    # @param options [Options]
    # @return [ControlSocket, nil] nil if there is to be none, or if its usual place is another server's, which is logged
    # @raise [BindError] if an option names a place that cannot be used
    def self.open(options)
      places = SocketPlaces.for(options)
      listener = wanted?(options, places) && (Inheritance.current.claim_first(places.known_as(:control)) || places.open(:control))
      listener ? new(listener) : nil
    rescue BindError => e
      raise unless options[:control_socket] == :default

      # Two servers in one folder are no mistake.
      PushServer.log(:warn, "commands such as `push_server stop` do not reach this server: #{e.message}")
      nil
    end

    # In a child that checks whether a restart can succeed: opens the socket that an option names, unless the server has it.
    # @param options [Options]
    # @param known [Array<String>] the sockets that the server has; see {Inheritance#places}
    # @return [ControlSocket, nil] nil if there is nothing to open, or if the server would start without it
    # @raise [BindError]
    def self.open_new(options, known)
      places = SocketPlaces.for(options)
      return if options[:control_socket] == :default || !wanted?(options, places)
      return if places.known_as(:control).intersect?(known)

      new(places.open(:control))
    end

    # One process in test has the socket only if an option says so.
    def self.wanted?(options, places)
      ordinary = options[:environment] != "test" || options[:workers].positive?
      places.on?(:control) && (ordinary || options[:control_socket] != :default)
    end

    private_class_method :wanted?

    # @return [Listener]
    attr_reader :listener

    def initialize(listener)
      @listener = listener
    end

    # What {Inheritance} keeps of it.
    # @return [Array(String, Array<Listener>)]
    def place = [SocketPlaces.known_as(:control, listener.url), [listener]]

    # Removes its file, and closes it.
    def retire = listener.retire
  end
end
