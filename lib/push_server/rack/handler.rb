# frozen_string_literal: true

require "push_server"
require_relative "../process/program"

module PushServer
  # What `rackup -s push_server` calls, for Rackup 2 and for Rack 2.2: the handlers of both extend this module.
  module RackHandler
    # The options that rackup, `rails server` and Capybara add for themselves.
    FOREIGN = %i[
      AccessLog Silent Verbose DoNotReverseLookup app builder caching config daemonize debug early_hints eval heapfile
      include log_stdout pid profile_file profile_mode quiet require restart_cmd server user_supplied_options using warn
    ].freeze
    private_constant :FOREIGN

    # What rackup sets by itself, and `rails server` too. They are defaults, unless the user has given them.
    DEFAULTS = %i[Host Port].freeze
    private_constant :DEFAULTS

    # Runs the app until the server is stopped, with config/push_server.rb, if there is one. In the main thread the server
    # handles INT, TERM and QUIT meanwhile, and an error, or a second signal, ends the process with one line and status 1. In
    # another thread errors are raised.
    #
    # With workers, the command push_server is executed in place of this process, for the same config.ru. If the app comes
    # from elsewhere, the program is run again for the other processes: see {Program}.
    #
    # @param app [#call]
    # @param options [Hash] any option of the server, CamelCase or snake_case; Strings are converted
    # @yieldparam server [Single] to stop it: `stop`, from any thread or signal handler
    # @raise [Error]
    def run(app, **options)
      configuration = RackHandler.configuration(options)
      return RackHandler.run_workers(app, options, configuration) if configuration.options[:workers].positive?

      server = Single.new(app, configuration.options, hooks: configuration.hooks)
      yield server if block_given?
      server.run
      server.exit_unless_graceful if Thread.current == Thread.main
    rescue Error => e
      raise unless Thread.current == Thread.main

      abort "push_server: #{e.message}"
    end

    # What `rackup -s push_server --help` prints.
    # @return [Hash{String => String}]
    def valid_options
      Options::TABLE.values.to_h { |option| ["#{RackHandler.camel_case(option.name)}=#{option.metavar}", option.doc] }
    end

    # What the user has decided.
    # @param given [Hash{Symbol => Object}] what rackup passes
    # @return [Configuration]
    # @raise [OptionError]
    def self.configuration(given)
      own, by_rackup = given.partition { |key, value| chosen?(given, key, value) }.map(&:to_h)
      Configuration.new(options(own), defaults: options(by_rackup), quiet: Program.child?)
    end

    # Serves with workers. Does not return.
    def self.run_workers(app, given, configuration)
      file = given[:config].to_s
      return Program.run(app, configuration) if Program.child? || given[:builder] || !File.file?(file)

      Program.execute_command(words(given, configuration.options), file)
    end

    # The options as they are on the command line of push_server. Those that a configuration file or the environment sets are
    # found there again.
    # @return [Array<String>]
    def self.words(given, options)
      chosen = Options::TABLE.values.select { |option| options.chosen?(option.name) && option.switches.any? }
      secrets, chosen = chosen.partition { |option| option.secret? && options[option.name] }
      # Other users see command lines.
      secrets.each { |option| ENV[option.env.first] = options[option.name] }
      words = chosen.flat_map { |option| option.words(options[option.name]) }
      words += ["--bind", *options.binds] if options.chosen?(:host) && !options[:bind]
      # rackup has written it, and does not remove it any more.
      words += ["--pidfile", given[:pid]] if given[:pid] && !options[:pidfile]
      words
    end

    # Whether the user has given an option, as far as that can be known. `rails server` tells. rackup's own port is a number,
    # one from its command line is a String.
    def self.chosen?(given, key, value)
      return true unless DEFAULTS.include?(key)
      return Array(given[:user_supplied_options]).include?(key) if given.key?(:user_supplied_options)

      key == :Port ? value.is_a?(String) : value != default_host
    end

    # As rackup has it.
    def self.default_host = ENV.fetch("RACK_ENV", "development") == "development" ? "localhost" : "0.0.0.0"
    private_class_method :words, :chosen?, :default_host

    # Turns what rackup passes into the server's options.
    # @return [Hash{Symbol => Object}]
    def self.options(given)
      own = given.reject { |key, value| FOREIGN.include?(key) && !chosen_access_log?(key, value) }
      own.each_with_object({}) do |(key, value), options|
        name = key.to_s.gsub(/(?<=[a-z\d])[A-Z]/, '_\0').downcase.to_sym
        if Options::TABLE.key?(name)
          options[name] = value
        else
          PushServer.log(:warn, "rackup option #{key} is ignored: there is no option #{name}#{Options.suggestion(name)}")
        end
      end
    end

    # rackup's own AccessLog, for WEBrick, is an Array; `-O AccessLog=json` gives a String.
    def self.chosen_access_log?(key, value) = key == :AccessLog && !value.is_a?(Array)
    private_class_method :chosen_access_log?

    # :max_message_size is MaxMessageSize.
    def self.camel_case(name) = name.to_s.split("_").map(&:capitalize).join
  end
end
