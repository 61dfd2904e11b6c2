# frozen_string_literal: true

require_relative "phased_restart"
require_relative "hot_restart"

module PushServer
  class Supervisor
    # The restarts of a server: one at a time, and at most one that follows. One thread.
    class RestartQueue
      # @param parts [Parts]
      # @param supervisor [Supervisor]
      # @param workers [Workers]
      # @param generations [Generations]
      # @param commands [Commands] is told what happens
      def initialize(parts, supervisor, workers, generations, commands)
        @parts = parts
        @workers = workers
        @generations = generations
        @commands = commands
        @hot_restart = HotRestart.new(parts, supervisor)
        # What waits for the end of the restart that runs, and of the one that follows.
        @observers = []
        @next_observers = []
      end

      # Whether workers are being replaced.
      def running? = !@running.nil?

      # Whether workers are being replaced, or are about to be: the new version is being checked.
      def under_way? = running? || @hot_restart.running?

      # Replaces the workers. If a phased restart runs, this one follows it. If the program is about to be executed anew, that
      # replaces the workers: two restarts at once would have two successors in one place.
      # @yieldparam failure [String, nil] when it is over: why it was given up
      def phased(&on_end)
        (running? ? @next_observers : @observers) << on_end if on_end
        return follow(:phased) if running?
        return PushServer.log(:info, "a restart is under way, which replaces the workers, too") if @hot_restart.running?

        PushServer.log(:info, "phased restart: the app is loaded anew")
        @commands.reloading("Phased restart: the app is loaded anew")
        # Set before it starts: without preload it may be over at once.
        @running = PhasedRestart.new(@parts, @workers, @generations, @commands.method(:progress)) { |failure| over(failure) }
        @running.start
      end

      # Executes the supervisor's program anew, which then replaces the workers. If a restart runs, this one follows it, unless
      # a client waits for the answer: then it fails.
      # @param reply [ControlServer::Reply, nil]
      def hot(reply = nil)
        return follow(:hot) if running? && reply.nil?
        return start_hot(reply) unless running?

        PushServer.log(:error, "not restarted: a phased restart is under way")
        reply.fail("not restarted: a phased restart is under way")
      end

      # Replaces the workers after the program was executed anew.
      # @yieldparam failure [String, nil] at the end of each restart until one has succeeded: why it was given up
      def finish_hot_restart(&on_end)
        @after_exec = on_end
        phased
      end

      # The program is not executed anew.
      # @param reason [String]
      def hot_restart_failed(reason)
        @commands.reloaded(reason)
        observers, @observers = @observers, []
        observers.each { |observer| observer.call(reason) }
      end

      # Gives all restarts up, because the server stops.
      def cancel
        @running&.cancel
        @hot_restart.cancel
        [*@observers, *@next_observers].each { |observer| observer.call("the server stops") }
      end

      private

      def start_hot(reply)
        @commands.reloading("Restarting: the new version loads the configuration") unless @hot_restart.running?
        @hot_restart.start(reply)
      end

      # @param what [:phased, :hot] the second one includes the first one
      def follow(what)
        PushServer.log(:info, "a phased restart runs already, and another restart follows it")
        @next = what unless @next == :hot
      end

      def over(failure)
        @running = nil
        after_exec = @after_exec
        @after_exec = nil unless failure
        after_exec&.call(failure)
        @commands.reloaded(failure)
        observers, @observers, @next_observers = @observers, @next_observers, []
        observers.each { |observer| observer.call(failure) }
        following, @next = @next, nil
        __send__(following) if following
      end
    end
  end
end
