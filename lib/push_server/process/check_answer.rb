# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"
require_relative "inheritance"

module PushServer
  # The child's side of a {Check}: in a process with the role "check", it takes the place of serving. Each of its methods that
  # answers ends the process, without the app's at_exit blocks.
  class CheckAnswer
    # Seconds that the parent has to say what it wants to know.
    PATIENCE = 10
    private_constant :PATIENCE

    # @param link [Link] to the parent
    def initialize(link)
      @link = link
    end

    # The configuration and the app are loaded: opens the sockets that the parent does not have, and says so.
    # @param endpoints [Array<Endpoint::Tcp, Endpoint::Unix, Endpoint::Descriptor>]
    # @param given [Boolean] whether the user has named them; otherwise the server goes on with sockets that systemd has passed
    # @param facts [Hash{Symbol => Object}] what the parent may want to know, see {Check::Result#facts}
    def serve(endpoints, given: true, **facts)
      missing(endpoints, given).each do |endpoint|
        listeners = endpoint.open
        @link.send(:socket, fds: listeners.map(&:socket), place: endpoint.to_s,
                            listeners: listeners.map { |listener| listener.description(file: true) })
      end
      answer(:ready, version: VERSION, **facts)
    rescue Error => e
      fail(e.message)
    end

    # The new version cannot serve.
    # @param reason [String] one line
    def fail(reason) = answer(:failed, message: reason.lines.map(&:strip).join(" "))

    private

    def missing(endpoints, given)
      message = @link.receive(PATIENCE)
      exit!(1) if message.nil? || message == :eof # The parent is gone.
      places = message[:places]
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
