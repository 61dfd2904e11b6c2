# frozen_string_literal: true

require "json"
require_relative "../config/configuration"
require_relative "exec_variables"
require_relative "leader"
require_relative "original_command"
require_relative "role"
require_relative "signals"
require_relative "supervisor"
require_relative "worker"

module PushServer
  # A Ruby program that serves its app with several processes, as `PushServer.run(app, workers: 2)` does. The process executes
  # a supervisor in its own place, which holds no app. The supervisor runs the program again: for the leader, and, without
  # preload, for each worker. There, the same call serves, and ends the process when the server has stopped.
  #
  # A config.ru needs no program: the command push_server is executed for it.
  module Program
    # The variables that tell the supervisor what it is to serve.
    OPTIONS = "PUSH_SERVER_OPTIONS"
    FILE = "PUSH_SERVER_CONFIGURATION"
    SUPERVISOR = "require 'push_server'; exit PushServer::Program.supervise"
    COMMAND = "require 'push_server/cli'; exit PushServer::CLI.start(ARGV)"
    private_constant :OPTIONS, :FILE, :SUPERVISOR, :COMMAND

    class << self
      # Whether a supervisor has started this process, which is to serve an app.
      def child? = !Role.current.nil?

      # Serves an app with workers. To be called by the main thread. Does not return.
      # @param app [#call]
      # @param configuration [Configuration] with workers
      # @raise [Error] if that cannot be
      def run(app, configuration)
        raise Error, "with workers, the server needs the main thread: start it there" if Thread.current != Thread.main

        role = Role.current
        return execute_supervisor(configuration) if role.nil?
        return Supervisor.check(role.link, configuration.options) if role.check?

        process = { "leader" => Leader, "worker" => Worker }.fetch(role.name)
        exit process.new(role.link, configuration.hooks) { app }.run
      end

      # Executes the command push_server in place of this process.
      # @param words [Array<String>] its options
      # @param file [String] the config.ru
      # @raise [Error] if the system does not execute it
      def execute_command(words, file) = execute({}, COMMAND, [*words, "--", file])

      # What the process executes that {run} was called in. For the options of a child, the configuration is read again there.
      # @return [Integer] the status of this process
      # @api private
      def supervise
        OriginalCommand.current
        options = Options.load(ENV.delete(OPTIONS))
        file = ENV.delete(FILE)
        OwnProcess.prepare
        Supervisor.new(options, file ? ConfigurationFile.new(file, quiet: true).hooks : Hooks::NONE).run
      rescue Error => e
        warn "push_server: #{FailureReport.new(e).message}"
        e.is_a?(OptionError) ? 2 : 1
      end

      private

      def execute_supervisor(configuration)
        raise Error, "a program that Ruby reads from stdin cannot have workers: give it a file" if $PROGRAM_NAME == "-"

        # The supervisor starts the command of this process.
        command = OriginalCommand.current
        variables = { OPTIONS => configuration.options.dump, FILE => configuration.file, **command.description }
        execute(variables, SUPERVISOR, [])
      end

      def execute(variables, code, words)
        [$stdout, $stderr].each(&:flush)
        # As at the exec before this one. At a first start, signals do what they do to any program that starts.
        former = Signals.prepare_exec if ExecVariables.hidden.any?
        Process.exec(variables.merge(ExecVariables.environment), [RbConfig.ruby, RbConfig.ruby], *load_path, "-e", code, "--",
                     *words, **ExecVariables.descriptors)
      rescue SystemCallError => e
        ExecVariables.close_on_exec
        Signals.undo_exec(former) if former
        raise Error, "cannot execute #{RbConfig.ruby}: #{e.message}"
      end

      # Where this library is, unless Bundler or RubyGems finds it: after a release there may be another version of it.
      def load_path
        Gem.loaded_specs.key?("push_server") ? [] : ["-I", File.expand_path("../..", __dir__)]
      end
    end
  end
end
