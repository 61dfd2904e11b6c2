# frozen_string_literal: true

require_relative "../rack/error_report"
require_relative "configuration_words"

module PushServer
  # A configuration file, such as config/push_server.rb. It is Ruby; {ConfigurationWords} are its words.
  class ConfigurationFile
    # A value, and where the file has it, such as "config/push_server.rb:3".
    Setting = Struct.new(:value, :place)

    # @return [String] an absolute path
    attr_reader :path
    # @return [Hash{Symbol => Setting}] what the file sets, by the option's name
    attr_reader :settings
    # @return [Setting, nil] the config.ru
    attr_reader :rackup
    # @return [Hooks] frozen
    attr_reader :hooks
    # @return [Array<Array(Symbol, String)>] the hooks that run only with workers, by the name that the file has: name, place
    attr_reader :cluster_hooks

    # Reads the file. Words that have no effect are logged.
    # @param path [String]
    # @param quiet [Boolean] whether to log nothing
    # @raise [OptionError] if the file does not exist, raises, or has an unknown word: one line with the place
    def initialize(path, quiet: false)
      @path = File.expand_path(path)
      @reading = []
      @settings = {}
      @cluster_hooks = []
      @quiet = @quiet_hooks = quiet
      @hooks = Hooks.new
      @words = ConfigurationWords.new(self)
      read(@path)
      @hooks.freeze
      freeze
    end

    # For the words; see {ConfigurationWords}.

    # Evaluates a file with the same words.
    def read(path)
      path = File.expand_path(path, File.dirname(@reading.last || @path)) unless File.file?(path)
      path = File.expand_path(path)
      @reading.push(path)
      @words.instance_eval(source(path), path, 1)
    rescue OptionError, SystemExit, SignalException
      raise
    rescue Exception => e # rubocop:disable Lint/RescueException -- the user must see where any exception comes from
      raise OptionError, ErrorReport.new(e).in_one_line(path)
    ensure
      @reading.pop
    end

    # Sets an option.
    def set(name, value) = @settings[name] = Setting.new(value, place).freeze

    # Adds values to an option that is a list.
    def add(name, values) = set(name, [*@settings[name]&.value, *values])

    # Forgets what the file has set.
    def unset(name) = @settings.delete(name)

    # Names the config.ru.
    def rackup=(path)
      @rackup = Setting.new(path, place).freeze
    end

    # Registers a hook, under the name that the file has.
    def hook(name, key, block)
      raise OptionError, "#{place}: #{name} needs a block" unless block.respond_to?(:call)

      @hooks.add(name, block, key: key, place: place)
      @cluster_hooks << [name, place].freeze if Hooks.cluster?(Hooks::ALIASES.fetch(name, name))
    end

    # Puma's users switch the warning about hooks without workers off.
    def silence_hooks = @quiet_hooks = true

    # Logs a warning with the place.
    def warn(text) = (PushServer.log(:warn, "#{place}: #{text}") unless @quiet)

    # @raise [OptionError] with the place
    def refuse(text) = raise(OptionError, "#{place}: #{text}")

    # Logs the hooks that do not run because there are no workers.
    def warn_of_unused_hooks
      return if @quiet_hooks

      @cluster_hooks.each do |name, place|
        PushServer.log(:warn, "#{place}: #{name} does not run: without workers there is one process")
      end
    end

    private

    def source(path)
      File.read(path, encoding: "BOM|UTF-8")
    rescue SystemCallError => e
      raise OptionError, "cannot read the configuration file #{ErrorReport.shorten(path)}: #{e.message.sub(/ @ .*/, "")}"
    end

    # The line of the file that runs now.
    def place
      path = @reading.last
      line = caller_locations.find { |location| location.absolute_path == path || location.path == path }&.lineno
      [ErrorReport.shorten(path), line].compact.join(":")
    end
  end
end
