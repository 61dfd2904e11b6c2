# frozen_string_literal: true

module PushServer
  class Supervisor
    # The connection of one worker with the hub. It is made again when it is lost, for example because a process had too many open
    # files for its end. One thread.
    class HubConnection
      # How often in a row it is made again. After that the worker is replaced.
      ATTEMPTS = 5
      # Seconds until it is made again the first time; then twice as long each time. A worker that ends loses it, too, and is
      # reaped meanwhile.
      FIRST_WAIT = 0.1
      # Seconds after which a connection was in order, so that its loss counts as the first one.
      YOUNG = 30
      # Seconds until it is tried again when the system has refused it.
      RETRY = 1
      private_constant :ATTEMPTS, :FIRST_WAIT, :YOUNG, :RETRY

      # @return [WorkerProcess]
      attr_reader :worker

      # @param parts [Parts]
      # @param worker [WorkerProcess]
      def initialize(parts, worker)
        @parts = parts
        @worker = worker
        @losses = 0
        @made_at = now
      end

      # Makes it: gives both ends away.
      # @param hub [HubProcess]
      def make(hub)
        forget
        @made_at = now
        near, far = Lines.sockets
        hub.tell("worker #{worker.process} #{worker.generation}", [near])
        worker.tell("hub", [far])
      rescue SystemCallError => e
        PushServer.log(:error, "cannot connect #{worker} with the hub: #{e.message}. It is tried again in #{RETRY} s")
        # This is not the worker's fault.
        @timer = @parts.events.after(RETRY) { make(hub) unless hub.ended? }
      ensure
        [near, far].compact.each(&:close)
      end

      # The hub does not have it any more, or has never got it.
      # @param hub [HubProcess]
      def lost(hub)
        @losses = 0 if now - @made_at >= YOUNG
        @losses += 1
        return worker.replace("it has lost its connection to the hub #{@losses} times in a row") if @losses > ATTEMPTS

        forget
        @timer = @parts.events.after(FIRST_WAIT * (2**(@losses - 1))) { make_again(hub) }
      end

      # The worker has ended, or the hub has: it is not made again.
      def forget = @parts.events.cancel(@timer)

      private

      def make_again(hub)
        return if hub.ended?

        PushServer.log(:warn, "#{worker} has lost its connection to the hub, and gets another one") unless worker.leaving?
        make(hub)
      end

      def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
