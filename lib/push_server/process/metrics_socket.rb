# frozen_string_literal: true

require_relative "../errors"
require_relative "../net/endpoint"
require_relative "inheritance"

module PushServer
  # The sockets on which a server has its metrics, if the option `metrics` says where. One thread at a time.
  class MetricsSocket
    # Where it listens if the URL names no port.
    PORT = 9394
    private_constant :PORT

    # In a child that checks whether a restart can succeed: opens the sockets, unless the server has them.
    # @param options [Options]
    # @param known [Array<String>] the sockets that the server has; see {Inheritance#places}
    # @return [MetricsSocket, nil] nil if there is nothing to open
    # @raise [BindError, OptionError]
    def self.open_new(options, known)
      socket = new(options)
      return if socket.place.nil? || known.include?(socket.place)

      socket.tap(&:open)
    end

    # @return [String, nil] what {Inheritance} calls these sockets; nil if there are to be none
    attr_reader :place
    # @return [Array<Listener>] empty before {#open}. A name such as localhost has several addresses
    attr_reader :listeners

    # @param options [Options]
    # @raise [OptionError]
    def initialize(options)
      @endpoint = options[:metrics] && Endpoint.parse(options[:metrics], port: PORT)
      @place = @endpoint && "metrics #{@endpoint}"
      @listeners = []
    rescue OptionError => e
      raise OptionError, "#{options.source(:metrics)}: #{e.message}"
    end

    # Opens the sockets, or takes them over from the program before this one. Idempotent.
    # @raise [BindError]
    def open
      return unless @endpoint && @listeners.empty?

      @listeners = Inheritance.current.claim(place) || @endpoint.open
    rescue BindError => e
      raise BindError, "there is no place for metrics: #{e.message.sub("--port or --bind", "--metrics")}"
    end

    # Has a service serve metrics on the sockets, which are opened if they are not open yet.
    # @param service [Service]
    # @raise [BindError, IOError]
    def serve(service)
      open
      listeners.each { |listener| service.serve_metrics(listener) }
    end

    # @return [Array<String>] where people find the metrics
    def urls = listeners.map { |listener| listener.url.start_with?("http") ? "#{listener.url}/metrics" : listener.url }.uniq

    # What is handed on over an exec.
    # @return [Array<Array(String, Array<Listener>)>] as {Binder#places}
    def places = listeners.empty? ? [] : [[place, listeners]]

    # Removes the file of a Unix socket, and closes the sockets in Ruby. Idempotent.
    def retire_all
      listeners.each(&:retire)
      @listeners = []
    end
  end
end
