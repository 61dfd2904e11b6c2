# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"
require_relative "control_socket"
require_relative "inheritance"
require_relative "metrics_socket"
require_relative "pidfile"
require_relative "service"

module PushServer
  # The child's side of a {Check}: in a process with the role "check", it takes the place of serving. Each of its methods that
  # answers ends the process, without the app's at_exit blocks.
  class CheckAnswer
    # Seconds that the parent has to say what it wants to know.
    PATIENCE = 10
    private_constant :PATIENCE

    class << self
      # Ends this process when its parent has ended, however long the configuration and the app take to load. To be called
      # before that. Idempotent.
      # @param link [Link] to the parent
      def follow(link)
        return if @question

        @question = Thread.new { link.receive }
        watch = Thread.new do
          @question.join
          Process.exit!(1) if link.receive
        end
        [@question, watch].each { |thread| thread.name = "push_server link" }
      end

      # What the parent wants to know.
      # @return [Link::Message, :eof, nil] nil: it has not said it in time
      # @api private
      def question = @question.join(PATIENCE)&.value
    end

    # @param link [Link] to the parent
    def initialize(link)
      @link = link
    end

    # The configuration and the app are loaded: opens the sockets that the parent does not have, and says so. What the new
    # version would refuse when it starts, it must refuse here: after the exec there is no way back.
    # @param endpoints [Array<Endpoint::Tcp, Endpoint::Ssl, Endpoint::Unix, Endpoint::Descriptor>]
    # @param options [Options] of the new configuration
    # @param facts [Hash{Symbol => Object}] what the parent may want to know, see {Check::Result#facts}
    # @yield to check what else the new version needs. It raises an {Error}
    def serve(endpoints, options, **facts)
      yield if block_given?
      Service.check(options)
      endpoints.each(&:prepare)
      places = known_places
      Pidfile.new(options[:pidfile]).rehearse(Process.ppid) if options[:pidfile]
      control = ControlSocket.open_new(options, places)
      hand_over(*control.place) if control
      metrics = MetricsSocket.open_new(options, places)
      hand_over(*metrics.places.first) if metrics
      missing(endpoints, places, options.binds?).each { |endpoint| hand_over(endpoint.to_s, endpoint.open) }
      answer(:ready, version: VERSION, **facts)
    rescue Error => e
      fail(e.message)
    end

    # The new version cannot serve.
    # @param reason [String] one line
    def fail(reason) = answer(:failed, message: reason.lines.map(&:strip).join(" "))

    private

    # The sockets that the parent has.
    def known_places
      message = CheckAnswer.question
      exit!(1) if message.nil? || message == :eof # The parent is gone.
      message[:places]
    end

    def hand_over(place, listeners)
      @link.send(:socket, fds: listeners.map(&:socket), place: place,
                          listeners: listeners.map { |listener| listener.description(file: true) })
    end

    # @param given [Boolean] whether the user has named them; otherwise the server goes on with sockets that systemd has passed
    def missing(endpoints, places, given)
      return [] if !given && places.any? { |place| place.start_with?("fd://") }

      endpoints.reject { |endpoint| (index = places.index(endpoint.to_s)) && places.delete_at(index) }
    end

    def answer(kind, **fields)
      @link.send(kind, **fields)
      [$stdout, $stderr].each { |io| io.flush unless io.closed? }
    ensure
      exit!(kind == :ready ? 0 : 1)
    end
  end
end
