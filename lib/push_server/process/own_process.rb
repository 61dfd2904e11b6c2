# frozen_string_literal: true

require "securerandom"
require_relative "../errors"
require_relative "../log"
require_relative "../net/activation"
require_relative "backtraces"
require_relative "check_answer"
require_relative "control_server"
require_relative "control_socket"
require_relative "inheritance"
require_relative "notifier"
require_relative "original_command"
require_relative "role"
require_relative "single_commands"
require_relative "restart"
require_relative "socket_places"

module PushServer
  # What a server in a single process does besides serving, if the process is its own: it answers commands, tells systemd its
  # state, and restarts by executing the original command anew. All on the server's control thread, except {#execute}.
  class OwnProcess
    # Reads what this process was started with, and takes it out of the environment. To be called before the app is loaded.
    # @raise [Error]
    def self.prepare
      OriginalCommand.current
      CheckAnswer.follow(Role.current.link) if Role.current&.check?
      Activation.current.add(Inheritance.current)
      Notifier.current.beat_while_loading
    end

    # @param options [Options]
    def initialize(options)
      @options = options
      @notifier = Notifier.current
      # Tells a client of the control socket whether it talks to the same program as before.
      @instance = SecureRandom.hex(8)
      @since = Time.now
      @replies = []
    end

    # Begins to work in this loop, when the server serves.
    # @param loop [EventLoop]
    # @param summary [String] what the server does, for systemd
    # @param actions [Hash{Symbol => #call}] as {SingleCommands} has them, but `restart` is called when the new version can
    #   serve and the server is to drain; `places` returns {Binder#places}
    # @return [void]
    # @raise [BindError] if the option control_socket names a place that cannot be used
    def begin(loop, summary, **actions)
      @summary = summary
      @actions = actions
      @socket ||= ControlSocket.open(@options)
      @restart = Restart.new(loop, seconds: @options.to_h[:worker_boot_timeout])
      @control = ControlServer.new(@socket.listener, commands, loop) if @socket
      @notifier.beat_in(loop)
      report_unclaimed
      @notifier.ready(summary)
    end

    # Opens log files anew.
    # @yield to open them
    def reload
      return yield if @restart.checking? || @draining

      @notifier.reloading("Opening the log files anew")
      yield
      @notifier.ready(@summary)
    end

    # Checks whether the new version can serve. If it can, the action `restart` is called. If not, nothing changes and the log
    # says why.
    # @param reply [ControlServer::Reply, nil] to the command that has asked for it
    def restart(reply = nil)
      return refuse("a restart is under way already", reply) if @restart.checking? || @draining

      PushServer.log(:info, "restarting: a new process loads configuration and app first")
      reply&.progress("The new version is being loaded, to see whether it can serve")
      @notifier.reloading("Restarting: loading the new version")
      @restart.check(with_control(@actions.fetch(:places).call).map(&:first)) { |result| decide(result, reply) }
    rescue Error => e
      refuse(e.message, reply)
    end

    # The server begins to drain.
    # @param restarts [Boolean] whether it restarts afterwards
    # @param seconds [Numeric] how long it may take
    def draining(seconds, restarts:)
      @draining = true
      return @notifier.reloading("Restarting: finishing what is open, up to #{seconds} s") if restarts

      @restart&.abort
      @notifier.stopping("Stopping: finishing what is open, up to #{seconds} s")
    end

    # To be ended when the server has stopped.
    # @param reply [ControlServer::Reply]
    def await_stop(reply) = @replies << reply

    # The server has stopped.
    # @param restarts [Boolean] whether {#execute} follows
    def stopped(restarts:)
      @replies.each { |reply| reply.done(pid: Process.pid, executes: restarts) }
      @replies.clear
      @control&.close
      return if restarts

      @notifier.stopping("Stopped") unless @draining
      @restart&.abort
      @socket&.retire
      @socket = nil
    end

    # Executes the original command in place of this process. To be called by the main thread.
    # @param places [Array<Array(String, Array<Listener>)>] the sockets of the server
    # @param ticket_keys [IO, nil] the file of {TicketKeys}, if there are any
    # @yieldreturn [Boolean] as {Restart#execute}
    # @raise [Error] if the system refuses: then this process goes on
    def execute(places, ticket_keys, &)
      number = ticket_keys&.fileno
      added = { ExecVariables::TICKET_KEYS => number&.to_s }.compact
      @restart.execute(with_control(places), added: added, descriptors: { number => number }.compact, &)
    ensure
      ticket_keys&.close_on_exec = true
      @draining = false
    end

    private

    # The sockets of the server, and that of commands.
    def with_control(places) = @socket ? [*places, @socket.place] : places

    def commands
      status = -> { { instance: @instance, since: @since.to_i, **@actions.fetch(:status).call } }
      SingleCommands.new(**@actions.slice(:stop, :reload, :stats), restart: method(:restart), status: status)
    end

    def decide(result, reply)
      return refuse("the new version cannot serve: #{result.error}", reply) unless result.ok?

      reply&.progress("It can (push_server #{result.version}). This process finishes what is open, for up to " \
                      "#{@options[:drain_timeout]} s, and executes the new version. New connections wait")
      @replies << reply if reply
      @actions.fetch(:restart).call
    end

    def refuse(reason, reply)
      PushServer.log(:error, "not restarted: #{reason}. Nothing has changed")
      reply&.fail("not restarted: #{reason}. Nothing has changed")
      @notifier.ready(@summary) unless @restart.checking? || @draining
    end

    # What the configuration no longer names.
    def report_unclaimed
      Inheritance.current.release.each { |url| PushServer.log(:info, "no longer listening on #{url}") }
    end
  end
end
