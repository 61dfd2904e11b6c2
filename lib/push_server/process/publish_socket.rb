# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"
require_relative "../net/listener"
require_relative "inheritance"
require_relative "outside"
require_relative "socket_places"

module PushServer
  # The socket of a server in a single process to which processes without a server connect to publish. The server serves
  # without it, too: another server in the same folder may have it. One thread at a time.
  class PublishSocket
    # The place of the socket in an {Inheritance} begins so; its URL follows.
    PLACE = "publish "
    private_constant :PLACE

    # @param options [Options]
    def initialize(options)
      @options = options
    end

    # Has a service publish what comes through the socket, which is opened if it is not open yet. Says to the children of this
    # process where they can publish.
    # @param service [Service]
    def serve(service)
      @listener ||= open if wanted?
      service.publish_from(@listener) if @listener
    rescue BindError, IOError => e
      retire_all
      PushServer.log(:warn, "processes without a server cannot publish to this one: #{e.message}")
    ensure
      Outside.publish_to([@listener&.socket&.local_address&.unix_path].compact, timeout: @options[:publish_timeout])
    end

    # What is handed on over an exec.
    # @return [Array<Array(String, Array<Listener>)>] as {Binder#places}
    def places = @listener ? [["#{PLACE}#{@listener.url}", [@listener]]] : []

    # Removes the file, and closes the socket in Ruby. Idempotent.
    def retire_all
      @listener&.retire
      @listener = nil
    end

    private

    # A test suite starts servers in the folder of the app, where one may run for development.
    def wanted? = @options[:publish_socket] != :default || @options[:environment] != "test"

    # @return [Listener, nil]
    def open
      places = SocketPlaces.for(@options)
      places.candidates(:publish).each do |path|
        inherited = Inheritance.current.claim("#{PLACE}#{Listener.unix_url(path)}")
        return inherited.first if inherited
      end
      places.open(:publish)
    end
  end
end
