# frozen_string_literal: true

require "json"
require "rbconfig"
require_relative "../net/activation"
require_relative "exec_variables"
require_relative "forking"
require_relative "inheritance"
require_relative "notifier"
require_relative "role"
require_relative "role_signals"

module PushServer
  # The command that has started this process, with its environment and its folder as the user typed it. It is started again
  # for a child with a role, or in place of this process.
  #
  # A symlink in the folder's path is followed anew, and Bundler is set up anew: so the new process has the code and the gems
  # that are current then. Frozen; any thread.
  class OriginalCommand
    # The arguments of a Linux process, each ended by a NUL.
    ARGUMENTS = "/proc/self/cmdline"
    # Variables that Bundler sets for its children, and keeps the originals of.
    BUNDLER = /\ABUNDLER_ORIG_(?<name>.+)\z/
    # What Bundler writes for a variable that was not set.
    NIL = "BUNDLER_ENVIRONMENT_PRESERVER_INTENTIONALLY_NIL"
    SETUP = "-rbundler/setup"
    SETS_UP = %r{-r\s*\S*bundler/setup}
    # Names the command if this process has been executed in place of it; see {Program}.
    VARIABLE = "PUSH_SERVER_COMMAND"
    # The variables that are only for this process.
    OWN = [VARIABLE, *Role::VARIABLES, *ExecVariables::NAMES, "PUSH_SERVER_OPTIONS", "PUSH_SERVER_CONFIGURATION",
           *Notifier::VARIABLES, *Activation::VARIABLES].freeze
    # The status of a child whose command could not be executed.
    NOT_EXECUTED = 127
    private_constant :NOT_EXECUTED, :ARGUMENTS, :BUNDLER, :NIL, :SETUP, :SETS_UP, :OWN

    class << self
      # The command of this process. It is read at the first call, which must come before a process title is set, the current
      # folder changes, or the app is loaded.
      # @return [OriginalCommand]
      def current = @current ||= (given = ENV.delete(VARIABLE)) ? described(given) : new(arguments, ENV.to_h, folder: folder)

      private

      def described(text)
        command = JSON.parse(text)
        new(command.fetch("arguments").map { |word| word.unpack1("m0") }, ENV.to_h, folder: command.fetch("folder").unpack1("m0"))
      rescue JSON::ParserError, KeyError
        raise Error, "the variable #{VARIABLE} is only for push_server itself: remove it from the environment"
      end

      # The words behind the name of the Ruby, with Ruby's own switches.
      def arguments
        words = File.binread(ARGUMENTS).split("\0", -1)[..-2]
        words.size > 1 ? words.drop(1) : fallback
      rescue SystemCallError
        fallback
      end

      # Systems without /proc do not tell Ruby's own switches.
      def fallback = [$PROGRAM_NAME, *ARGV]

      # The current folder as the shell has it, which may be a symlink.
      def folder
        typed = ENV["PWD"].to_s
        typed.start_with?("/") && File.identical?(typed, ".") ? typed : Dir.pwd
      rescue SystemCallError
        typed
      end
    end

    # @return [Array<String>] the Ruby, its switches, the program and its arguments
    attr_reader :words
    # @return [String] the folder in which the process was started
    attr_reader :folder

    # @param arguments [Array<String>] behind the name of the Ruby
    # @param environment [Hash{String => String}] of this process, when it was started
    def initialize(arguments, environment, folder:)
      @words = [RbConfig.ruby, *arguments].map(&:freeze).freeze
      @folder = folder.dup.freeze
      @environment = original(environment.except(*OWN)).merge("PWD" => @folder).freeze
      freeze
    end

    # The environment for a process of this command.
    # @param added [Hash{String => String, nil}] nil removes a variable
    # @return [Hash{String => String}] all of its variables
    def environment(added = {}) = @environment.merge(added).compact

    # What the program that is executed in place of this command needs, so that the command is its {current} one.
    # @return [Hash{String => String}] an environment variable
    def description
      { VARIABLE => JSON.generate(arguments: words.drop(1).map { |word| [word].pack("m0") }, folder: [folder].pack("m0")) }
    end

    # Starts the command as a child with a role. The child ignores the signals that mean something to a server: they may be
    # sent to the whole process group, and would end a Ruby that is just starting. Only a fork before the exec can do that. If
    # the system does not execute the command, the child says so over its link.
    # @param role ["leader", "worker", "check"]
    # @param link [Link] the child's end, which the caller closes afterwards
    # @param options [Hash] further options of Process.exec, such as descriptors for the child
    # @return [Integer] the child's pid
    # @raise [Error] if the system gives no process
    def spawn(role, link, **options)
      Forking.fork do
        RoleSignals.ignore
        socket = link.to_io
        Process.exec(environment(Role.environment(role, link)), *words_for_exec, unsetenv_others: true, chdir: folder,
                                                                                 socket => socket, **options)
      rescue Exception => e # rubocop:disable Lint/RescueException -- nothing of this program may run in the child
        link.send(:failed, message: "cannot start #{words.join(" ")} in #{folder}: #{e.message.scrub}")
      ensure
        Process.exit!(NOT_EXECUTED)
      end
    rescue SystemCallError => e
      raise Error, "cannot start a process: #{e.message}"
    end

    # Executes the command in place of this process, which keeps its pid.
    # @param inheritance [Inheritance] the sockets that stay open
    # @param added [Hash{String => String}] variables
    # @param options [Hash] further options of Process.exec
    # @raise [Error] if the system does not execute it: then this process goes on
    def exec(inheritance, added: {}, **options)
      kept = inheritance.descriptors.merge(options)
      variables = ExecVariables.describe(kept.keys.grep(Integer))
      Process.exec(environment({ **inheritance.environment, **variables, **added }), *words_for_exec,
                   unsetenv_others: true, chdir: folder, **kept)
    rescue SystemCallError => e
      raise Error, "cannot execute #{words.join(" ")} in #{folder}: #{e.message}"
    end

    private

    # A pair as the first word: the system looks for no shell, even if there is one word only.
    def words_for_exec = [[words.first, words.first], *words.drop(1)]

    # The environment from before Bundler changed it. If the command does not set Bundler up by itself, the environment must
    # do it again, or the new process would not have its gems.
    def original(environment)
      kept = environment.filter_map { |name, value| [name[BUNDLER, :name], value] if BUNDLER.match?(name) }.to_h
      undone = environment.reject { |name, _| BUNDLER.match?(name) || kept[name] == NIL }
      undone.merge!(kept.reject { |_, value| value == NIL })
      return undone if !SETS_UP.match?(environment["RUBYOPT"].to_s) || words.any? { |word| bundler?(word) }

      undone.merge("RUBYOPT" => [SETUP, undone["RUBYOPT"]].compact.join(" "))
    end

    def bundler?(word) = %w[bundle bundler].include?(File.basename(word)) || word.include?("bundler/setup")
  end
end
