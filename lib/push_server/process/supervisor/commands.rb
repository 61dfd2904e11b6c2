# frozen_string_literal: true

require "securerandom"
require_relative "../control_server"
require_relative "../control_socket"
require_relative "../notifier"

module PushServer
  class Supervisor
    # What the supervisor answers to commands, as the target of a {ControlServer}, and what it tells systemd. One thread.
    class Commands
      # @param supervisor [Supervisor]
      # @param parts [Parts]
      # @param workers [Workers]
      def initialize(supervisor, parts, workers)
        @supervisor = supervisor
        @parts = parts
        @workers = workers
        @notifier = Notifier.current
        # Tells a client whether it talks to the same program as before.
        @instance = SecureRandom.hex(8)
        @since = Time.now
        # The replies that wait for the end of the server.
        @stops = []
        # The replies that wait for the end of a phased restart.
        @restarts = []
      end

      # Opens the control socket.
      # @raise [BindError]
      def open
        @socket = ControlSocket.open(@parts.options)
        @server = ControlServer.new(@socket.listener, self, @parts.events) if @socket
        @notifier.beat_in(@parts.events)
      end

      # What {Inheritance} keeps.
      # @return [Array<Array(String, Array<Listener>)>]
      def places = [@socket&.place].compact

      # The server serves, perhaps again.
      def serving
        @serving = true
        @notifier.ready(summary)
      end

      # The number of workers that serve has changed.
      def changed
        @notifier.status(summary) if @serving && !@reloading
      end

      # Something is loaded or opened anew; {#serving} follows.
      # @param what [String]
      def reloading(what)
        @reloading = true
        @notifier.reloading(what)
      end

      # It is done, or given up.
      # @param failure [String, nil] why it was given up
      def reloaded(failure = nil)
        @reloading = false
        @failure = failure
        serving
      end

      # Log files are opened anew.
      # @yield to do so
      def opening_logs
        return yield if @reloading

        reloading("Opening the log files anew")
        yield
        reloaded(@failure)
      end

      # The server begins to stop.
      def stopping = @notifier.stopping("Stopping: finishing what is open, up to #{@parts.options[:drain_timeout]} s")

      # The server has stopped.
      def close
        @stops.each { |reply| reply.done(pid: Process.pid) }
        @server&.close
        @socket&.retire
      end

      # What each command does. Some begin only, and the reply is ended later.
      # @param reply [ControlServer::Reply]
      def stop(reply)
        @stops << reply
        reply.progress("Stopping: up to #{@parts.options[:drain_timeout]} s for what is open")
        @supervisor.stop
      end

      # @see #stop
      def reload(reply)
        @supervisor.reload
        reply.done
      end

      # @see #stop
      def phased_restart(reply)
        reply.progress("The app is being loaded anew")
        @restarts << reply
        @supervisor.phased_restart do |failure|
          @restarts.delete(reply)
          failure ? reply.fail("given up: #{failure}") : reply.done
        end
      end

      # A phased restart has got further.
      # @param text [String]
      def progress(text) = @restarts.each { |reply| reply.progress(text) }

      # @see #stop
      def restart(reply) = @supervisor.restart(reply)

      # @see #stop
      # @param change [String, Integer] such as "+1", "-1" or "4"
      def change_workers(reply, change)
        raise Error, "a number of workers is such as 4, +1 or -1, not #{change.inspect}" unless
          change.to_s.match?(/\A[+-]?\d{1,4}\z/)

        number = change.to_s.to_i
        @supervisor.workers = change.to_s.match?(/\A[+-]/) ? @supervisor.workers + number : number
        reply.done(workers: @supervisor.workers)
      end

      # @see #stop
      def backtraces(reply)
        @supervisor.backtraces
        reply.done
      end

      # @see #stop
      # @param number [Integer] of the worker
      def drain_worker(reply, number)
        raise Error, "there is no worker #{number} that serves: push_server status lists the workers" unless
          @supervisor.drain(number)

        reply.done
      end

      # @see #stop
      def stats(reply) = reply.done(**@parts.slots.totals)

      # @see #stop
      def status(reply)
        reply.done(instance: @instance, since: @since.to_i, pid: Process.pid, version: VERSION, mode: "cluster",
                   state: @supervisor.state, failure: @failure, urls: @parts.binder.urls,
                   environment: @parts.options[:environment], threads: @parts.options[:threads], workers: workers)
      end

      private

      def workers
        @workers.all.map do |worker|
          { number: worker.number, pid: worker.pid, process: worker.process, generation: worker.generation, state: worker.state }
        end
      end

      def summary
        serving = @workers.serving.size
        "Serving on #{@parts.binder.urls.join(", ")} with #{serving} of #{@supervisor.workers} workers"
      end
    end
  end
end
