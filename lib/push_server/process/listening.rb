# frozen_string_literal: true

require_relative "../net/activation"
require_relative "../net/binder"
require_relative "../net/certificate_watch"
require_relative "../net/endpoint"
require_relative "../net/ticket_keys"
require_relative "inheritance"
require_relative "metrics_socket"
require_relative "publish_socket"

module PushServer
  # What a server in a single process listens on: its endpoints, which may be added and retired while it serves, the socket on
  # which processes without a server publish, and the sockets for metrics. Any thread.
  class Listening
    # @return [Array<Endpoint::Tcp, Endpoint::Unix, Endpoint::Descriptor>] those of the options
    attr_reader :endpoints

    # @param options [Options]
    # @yield when a listener that encrypts its connections is served: {#watch_certificates} must follow
    # @raise [OptionError]
    def initialize(options, &encrypts)
      @options = options
      @encrypts = encrypts
      @endpoints = Endpoint.all(Activation.current.binds(options), options)
      @binder = Binder.new
      @publish = PublishSocket.new(options)
      @metrics = MetricsSocket.new(options)
      # Held while listeners are added or retired, and while they end: a listener comes before that, or not at all.
      @lock = Mutex.new
    end

    # @param url [String] as the option bind takes it
    # @raise [OptionError]
    def endpoint(url) = Endpoint.for(url, @options)

    # Opens all sockets, or takes those over that an earlier program of this process has left, and has a service serve them. Once
    # more for another service, after {#end} with `keep`: it gets the same sockets.
    # @param service [Service] before its start
    # @param inherits [Boolean] whether this process executes itself anew, so that there may be an earlier program
    # @raise [BindError, IOError]
    def open(service, inherits:)
      @service = service
      @ended = false
      @inherits = inherits
      @binder.listeners.empty? ? open_endpoints(inherits) : begin_to_serve(@binder.listeners)
      @publish.serve(service)
      @metrics.serve(service)
    end

    # @return [Array<String>] where people find the server, ports resolved
    def urls = @binder.urls

    # @return [Array<String>] where people find the metrics
    def metrics_urls = @metrics.urls

    # What is handed on over an exec.
    # @return [Array<Array(String, Array<Listener>)>] as {Binder#places}
    def places = [@binder, @publish, @metrics].flat_map(&:places)

    # Listens on one more endpoint. A thread that is killed meanwhile either listens, or leaves nothing behind.
    # @param endpoint [Endpoint::Tcp, Endpoint::Unix, Endpoint::Descriptor]
    # @return [Array(String, Array<String>), nil] the endpoint's URL, and those of its listeners; nil after {#end}
    # @raise [BindError, IOError]
    def add(endpoint)
      return if @ended

      Thread.handle_interrupt(Object => :on_blocking) do
        # Outside of the lock, since a host's name may take long to look up.
        listeners = @binder.open(endpoint)
        bound = undivided { serve(endpoint, listeners) unless @ended }
        [bound, listeners.map(&:url).uniq] if bound
      ensure
        listeners&.each(&:retire) unless bound
      end
    end

    # Listens on an endpoint no longer. The file of its Unix socket is removed.
    # @param endpoint [Endpoint::Tcp, Endpoint::Unix, Endpoint::Descriptor]
    # @return [Array<String>, nil] the URLs of its listeners; nil if there is no such endpoint, and after {#end}
    def retire(endpoint)
      retired = undivided { unserve(endpoint.to_s) unless @ended }
      retired&.map(&:url)&.uniq
    end

    # From now on certificates are read again when their files change, and the keys of session tickets are renewed.
    # @param loop [EventLoop] on whose thread that happens. Once for each loop
    def watch_certificates(loop)
      return if @loop.equal?(loop)

      @loop = loop
      @watch = CertificateWatch.new(@binder) { |listeners| listeners.each { |listener| @service.renew(listener) } }
      @watch.start(loop)
      ticket_keys.start(loop)
    end

    # Reads all certificates again.
    def reload_certificates = @watch&.reload

    # @return [IO, nil] what hands the keys of session tickets on over an exec, if there are any
    def handover = @ticket_keys&.handover

    # Accepts no more clients, and nothing from processes without a server. Metrics are served on.
    # @param keep [Boolean] whether our own sockets stay open, in which new connections wait
    def end(keep:)
      @lock.synchronize do
        @ended = true
        [@binder, @publish].each(&:retire_all) unless keep
      end
    end

    # Ends all that {#end} has left.
    def close
      self.end(keep: false)
      @metrics.retire_all
    end

    private

    # Adds or retires listeners. A thread that is killed meanwhile ends afterwards: half of it would be a listener that
    # cannot be retired.
    def undivided(&)
      Thread.handle_interrupt(Object => :never) { @lock.synchronize(&) }
    end

    def open_endpoints(inherits)
      @endpoints.each do |endpoint|
        inherited = (Inheritance.current.claim(endpoint.to_s) if inherits)
        serve(endpoint, inherited || @binder.open(endpoint))
      end
      Activation.current.close_rest
    end

    # Serves what an endpoint has opened. Returns its URL.
    def serve(endpoint, listeners)
      url = @binder.add(endpoint, listeners)
      # The service has its own duplicates, and closes them when it drains. With these open as well, connections wait in the
      # backlog, which is right before a restart; before a stop these are closed, too.
      begin_to_serve(listeners)
      served = url
    ensure
      # Also when the thread is killed.
      (url ? unserve(url) : listeners.each(&:retire)) unless served
    end

    def begin_to_serve(listeners)
      encrypts = listeners.any?(&:certificates)
      @service.ticket_keys = ticket_keys if encrypts
      listeners.each { |listener| @service.listen(listener) }
      @encrypts.call if encrypts
    end

    # Clients resume their sessions after a restart.
    def ticket_keys
      @ticket_keys ||= TicketKeys.new((ExecVariables.hidden.delete(ExecVariables::TICKET_KEYS)&.to_i if @inherits))
    end

    # The file of a Unix socket goes first, while the service has the socket open.
    def unserve(url) = @binder.retire(url)&.each { |listener| @service.retire(listener) }
  end
end
