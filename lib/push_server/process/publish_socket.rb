# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"
require_relative "../net/listener"
require_relative "inheritance"
require_relative "outside"
require_relative "socket_places"

module PushServer
  # The socket of a server to which processes without a server connect to publish. The server serves without it, too: another
  # server in the same folder may have it. One thread at a time.
  class PublishSocket
    # @param options [Options]
    def initialize(options)
      @options = options
    end

    # Opens the socket, or takes it over from the program before this one. If that is not possible, the log says why.
    # @return [Listener, nil] nil if there is to be none, or if it cannot be
    def open
      @listener ||= (taken_over || socket_places.open(:publish) if wanted?)
    rescue BindError => e
      PushServer.log(:warn, "processes without a server cannot publish to this one: #{e.message}")
      nil
    end

    # Has a service publish what comes through the socket, which is opened if it is not open yet. Says to the children of this
    # process where they can publish.
    # @param service [Service]
    # @raise [IOError]
    def serve(service)
      open
      service.publish_from(@listener) if @listener
      Outside.publish_to(paths, timeout: @options[:publish_timeout])
    end

    # @return [Array<String>] its path, if it is open
    def paths = @listener ? [@listener.socket.local_address.unix_path] : []

    # What is handed on over an exec.
    # @return [Array<Array(String, Array<Listener>)>] as {Binder#places}
    def places = @listener ? [[SocketPlaces.known_as(:publish, @listener.url), [@listener]]] : []

    # Removes the file, and closes the socket in Ruby. Idempotent.
    def retire_all
      @listener&.retire
      @listener = nil
    end

    private

    # A test suite starts servers in the folder of the app, where one may run for development.
    def wanted?
      @options[:publish_socket] != :default || @options[:environment] != "test" || @options[:workers].positive?
    end

    def socket_places = @socket_places ||= SocketPlaces.for(@options)

    def taken_over = Inheritance.current.claim_first(socket_places.known_as(:publish))
  end
end
