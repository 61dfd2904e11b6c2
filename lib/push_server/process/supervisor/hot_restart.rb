# frozen_string_literal: true

require_relative "../restart"
require_relative "state"

module PushServer
  class Supervisor
    # Executes the supervisor's program anew, with its children and sockets: the first half of the restart that USR2 asks for.
    # First a child of the version that is current then loads the configuration and opens the sockets that are new. If that
    # fails, nothing has changed, and the log says why. One thread.
    class HotRestart
      # Seconds until the next attempt, if signals have come at the last moment.
      PAUSE = 0.01
      private_constant :PAUSE

      # What a check child tells about its version, for {#start}.
      # @param options [Options] of the new configuration
      # @return [Hash{Symbol => Object}]
      def self.facts(options) = { workers: options[:workers], forms: State::READABLE.minmax }

      # @param parts [Parts]
      # @param supervisor [#places, #handover, #before_restart, #not_restarted, #quiet?] `quiet?` is false if signals wait to
      #   be read
      def initialize(parts, supervisor)
        @parts = parts
        @supervisor = supervisor
        @restart = Restart.new(parts.events, seconds: parts.options[:worker_boot_timeout], reaper: parts.reaper)
      end

      # Whether it is under way: the new version is being checked, or is about to be executed.
      def running? = @restart.checking? || !@attempt.nil?

      # Begins, and returns. If it succeeds, this program ends.
      # @param reply [ControlServer::Reply, nil] to the command that has asked for it
      def start(reply = nil)
        return refuse("a restart is under way already", reply) if running?

        PushServer.log(:info, "restart: a new process loads the configuration first")
        reply&.progress("The new version loads the configuration first")
        @restart.check(@supervisor.places.map(&:first)) { |result| decide(result, reply) }
      rescue Error => e
        give_up(e.message, reply)
      end

      # Gives it up, because the server stops. A stop may come as late as between two attempts to execute.
      def cancel
        @cancelled = true
        discard
      end

      private

      def discard
        @parts.events.cancel(@attempt)
        @attempt = nil
        @restart.abort
      end

      def decide(result, reply)
        return discard if @cancelled

        reason = result.error || obstacle(result)
        return give_up(reason, reply) if reason

        PushServer.log(:info, "restart: executing push_server #{result.version}")
        reply&.progress("Executing push_server #{result.version}")
        @supervisor.before_restart
        execute(reply)
      end

      # Why the new version cannot take over although it can serve.
      def obstacle(result)
        workers, forms = result.facts.values_at(:workers, :forms)
        if workers.to_i.zero?
          "the new configuration has no workers, but this server has. Stop the server, and start it again"
        elsif !State::FORM.between?(*forms)
          "push_server #{result.version} cannot take over from #{VERSION}. Stop the server, and start it again"
        end
      end

      def execute(reply)
        @attempt = nil
        state = State.new(@supervisor.handover)
        @restart.execute(@supervisor.places, added: state.environment, descriptors: state.descriptors) { @supervisor.quiet? }
        state.close
        @attempt = @parts.events.after(PAUSE) { execute(reply) }
      rescue Error, SystemCallError => e
        state&.close
        give_up(e.message, reply)
      end

      def give_up(reason, reply)
        discard
        refuse(reason, reply)
        @supervisor.not_restarted(reason)
      end

      def refuse(reason, reply)
        PushServer.log(:error, "not restarted: #{reason}. Nothing has changed")
        reply&.fail("not restarted: #{reason}. Nothing has changed")
      end
    end
  end
end
