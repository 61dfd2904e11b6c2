# frozen_string_literal: true

require_relative "role_signals"

module PushServer
  # The process of the hub: a fork of the supervisor that keeps nothing of it.
  class Hub
    # Runs the hub in this process, and ends the process.
    # @param link [UNIXSocket] to the supervisor
    # @param store [IO] the numbers that outlive a hub
    # @param publish [Socket, nil] the socket for processes without a server
    # @param metrics [Array<Socket>] the sockets on which it serves metrics
    # @param settings [Hash] as {Options#settings} makes them
    # @param tag [String] for the process title
    def self.run(link, store, publish, metrics, settings, tag)
      new(link, store, publish, metrics, settings, tag).run
    rescue Exception => e # rubocop:disable Lint/RescueException -- nothing of the supervisor may run in this process
      PushServer.log_exception("the hub ends", e)
      Process.exit!(1)
    ensure
      Process.exit!(0)
    end

    def initialize(link, store, publish, metrics, settings, tag)
      @link = link
      @store = store
      @publish = publish
      @metrics = metrics
      @settings = settings
      @tag = tag
    end

    # Runs it.
    def run
      RoleSignals.handle
      PushServer.log_name = "hub"
      Process.setproctitle("push_server: hub [#{@tag}]")
      close_others
      NativeHub.run(@link.fileno, @publish&.fileno, @metrics.map(&:fileno), @store.fileno, @settings)
    end

    private

    # The supervisor's sockets and pipes. Open here, they would outlive the supervisor.
    def close_others
      own = [@link, @store, @publish, *@metrics, $stdin, $stdout, $stderr].compact
      ObjectSpace.each_object(IO) { |io| io.close unless io.closed? || own.any? { |kept| kept.equal?(io) } }
    end
  end
end
