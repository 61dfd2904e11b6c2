# frozen_string_literal: true

require_relative "role_signals"

module PushServer
  # The process of the hub: a fork of the supervisor that keeps nothing of it.
  class Hub
    # Runs the hub in this process, and ends the process.
    # @param link [UNIXSocket] to the supervisor
    # @param files [Hash{Symbol => IO, Array<IO>, nil}] store: the numbers that outlive a hub. publish: the socket for processes
    #   without a server, if there is one. metrics: the sockets on which it serves metrics. statistics: what all processes count
    # @param settings [Hash] as {Options#settings} makes them
    # @param tag [String] for the process title
    def self.run(link, files, settings, tag)
      new(link, files, settings, tag).run
    rescue Exception => e # rubocop:disable Lint/RescueException -- nothing of the supervisor may run in this process
      PushServer.log_exception("the hub ends", e)
      Process.exit!(1)
    ensure
      Process.exit!(0)
    end

    def initialize(link, files, settings, tag)
      @link = link
      @files = files
      @settings = settings
      @tag = tag
    end

    # Runs it.
    def run
      RoleSignals.handle
      PushServer.log_name = "hub"
      Process.setproctitle("push_server: hub [#{@tag}]")
      close_others
      store, publish, metrics, statistics = @files.values_at(:store, :publish, :metrics, :statistics)
      NativeHub.run(@link.fileno, publish&.fileno, metrics.map(&:fileno), store.fileno, statistics.fileno, @settings)
    end

    private

    # The supervisor's sockets and pipes. Open here, they would outlive the supervisor.
    def close_others
      own = [@link, *@files.values.flatten, $stdin, $stdout, $stderr].compact
      ObjectSpace.each_object(IO) { |io| io.close unless io.closed? || own.any? { |kept| kept.equal?(io) } }
    end
  end
end
