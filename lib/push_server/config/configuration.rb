# frozen_string_literal: true

require_relative "configuration_file"
require_relative "options"
require_relative "../process/socket_places"

module PushServer
  # All that a user has decided about a server: the options, the hooks, and which app to serve. It comes from the command line,
  # or from what a Rack handler was given; from environment variables; and from a configuration file. Frozen; any thread.
  class Configuration
    # Where the configuration file is if no option says so; the first one that is there. %s is the environment.
    DEFAULT_FILES = %w[config/push_server/%s.rb config/push_server.rb].freeze
    # In place of a path: no file is read.
    NONE = "-"
    private_constant :DEFAULT_FILES

    # @return [Options]
    attr_reader :options
    # @return [Hooks]
    attr_reader :hooks
    # @return [String, nil] the config.ru that the configuration file names
    attr_reader :rackup
    # @return [String, nil] the path of the configuration file
    attr_reader :file

    # Goes to the folder that the option `directory` names, reads the configuration file, and checks all options.
    # @param given [Hash{Symbol => Object}] options by name, as {Options} takes them
    # @param env [#[]] the environment variables
    # @param defaults [Hash{Symbol => Object}] see {Options#initialize}
    # @param quiet [Boolean] whether not to log words and hooks without effect, because another process has logged them
    # @yieldparam option [Option] see {Options#initialize}
    # @raise [OptionError]
    def initialize(given = {}, env: ENV, defaults: {}, quiet: false, &label)
      folder = SocketPlaces.current_folder(env)
      label ||= ->(option) { "#{option.name}:" }
      # First of all, since relative paths begin there.
      enter(directory(given, folder, label)) if given[:directory]
      found = find_file(given, env, label)
      read = found && ConfigurationFile.new(found, quiet: quiet)
      @file = found
      @hooks = read&.hooks || Hooks::NONE
      @rackup = read&.rackup&.value
      settings = read&.settings || {}
      @options = Options.new(given, env: env, file: settings, defaults: defaults, folder: folder, &label)
      enter(@options[:directory]) if @options[:directory] && !given[:directory]
      read&.warn_of_unused_hooks if @options[:workers].zero?
      freeze
    end

    private

    def directory(given, folder, label)
      option = Options::TABLE.fetch(:directory)
      option.coerce(given[:directory], label.call(option), base: folder)
    end

    # PWD is the folder as the user has typed it, for all that ask {SocketPlaces.current_folder}.
    def enter(directory)
      Dir.chdir(directory)
      ENV["PWD"] = directory
    rescue SystemCallError => e
      raise OptionError, "cannot go to the folder #{directory}: #{e.message}"
    end

    def find_file(given, env, label)
      option = Options::TABLE.fetch(:config)
      path = given[:config]
      return default_file(given, env) if path.nil?
      return if path.to_s == NONE

      path = option.coerce(path, label.call(option))
      return path if File.file?(path)

      raise OptionError, "#{label.call(option)} cannot be #{given[:config].to_s.inspect}: there is no such file in #{Dir.pwd}"
    end

    def default_file(given, env)
      option = Options::TABLE.fetch(:environment)
      environment = given[:environment] || option.env.filter_map { |name| env[name] unless env[name].to_s.empty? }.first
      environment ||= option.default
      DEFAULT_FILES.map { |path| File.expand_path(format(path, environment)) }.find { |path| File.file?(path) }
    end
  end
end
