# frozen_string_literal: true

require_relative "option"
require_relative "rows"
require_relative "../unsupported"

module PushServer
  # The server's options, from the command line, a Rack handler, or Ruby. Frozen; any thread.
  #
  # An option that is not given comes from an environment variable, or else from the defaults in {TABLE}. The limits and
  # timeouts of the table come from `NativeServer::LIMITS`; Rust has the only list of them.
  class Options
    # In these environments the server listens only on localhost, if it is not told where. In all others, other machines
    # can reach it.
    PRIVATE_ENVIRONMENTS = %w[development test].freeze
    # All addresses of both families.
    ANY_HOST = "*"

    # A row of NativeServer::LIMITS as an Option.
    def self.limit(name:, default:, least:, most:, off:, unit:, doc:)
      group = %i[seconds milliseconds].include?(unit) ? "Timeouts" : "Limits"
      Option.new(name, unit, doc, group: group, default: default, least: least, most: most, off: off)
    end
    private_class_method :limit

    LIMITS = NativeServer::LIMITS.map { |row| limit(**row) }.freeze
    # Rows that no piece of the server reads yet. Giving one is an error.
    PENDING = %i[workers preload restart_overlap worker_timeout worker_boot_timeout worker_max_memory config directory tag
                 pidfile].freeze
    private_constant :LIMITS

    # Every option, in the order of --help: name => Option.
    TABLE = (OWN + LIMITS).to_h { |option| [option.name, option] }.freeze

    # @param given [Hash{Symbol => Object}] options by name; Strings are converted
    # @param env [#[]] the environment variables
    # @yieldparam option [Option] how the user named this option, for errors (default: "name:")
    # @yieldreturn [String]
    # @raise [OptionError] for an unknown name or a wrong value
    def initialize(given = {}, env: ENV, &label)
      unknown = given.keys.find { |name| !TABLE.key?(name) }
      raise OptionError, "there is no option #{unknown.inspect}#{Options.suggestion(unknown)}" if unknown

      @named = given.key?(:sse_event)
      @values = TABLE.transform_values { |option| value_of(option, given, env, label || ->(row) { "#{row.name}:" }) }.freeze
      freeze
    end

    # What to say after the name of an unknown option: what to use instead of another server's option, or which option is
    # similar. May be empty.
    def self.suggestion(name)
      advice = Unsupported::SETTINGS[name.to_s.to_sym]
      return ": #{advice}" if advice

      nearest = DidYouMean::SpellChecker.new(dictionary: TABLE.keys).correct(name).first if defined?(DidYouMean)
      nearest ? ": did you mean #{nearest.inspect}?" : ""
    end

    # The value of an option.
    # @raise [KeyError] for an unknown name
    def [](name) = @values.fetch(name)

    # @return [Hash{Symbol => Object}] all values, by name
    def to_h = @values

    # Where to listen: what `bind` says, or `host`, or what the environment makes the default.
    # @return [Array<String>] URLs; see {Endpoint}
    def binds
      return self[:bind] if self[:bind]

      host = self[:host] || default_host
      # rackup takes a bare IPv6 address as its host.
      ["tcp://#{host.count(":") > 1 && !host.start_with?("[") ? "[#{host}]" : host}"]
    end

    # Whether there is a log file, which can be moved away and then be opened anew.
    def log_file? = self[:access_log] != :off && self[:access_log_file] != "-"

    # The settings for `NativeServer.new`.
    # @return [Hash{Symbol => Object}]
    def settings
      @values.slice(*LIMITS.map(&:name), :sse_event, :poll_parameter, :allowed_origins, :slow_client, :public_dir, :threads,
                    :access_log, :access_log_file).merge(hint_event_name: hint_event_name?, hint_text_in_bytes: development?)
    end

    private

    # Whether the developer gets the hint about the names of events: only if sse_event is not given.
    def hint_event_name? = !@named && development?

    def development? = self[:environment] == "development"

    def default_host = PRIVATE_ENVIRONMENTS.include?(self[:environment]) ? "localhost" : ANY_HOST

    def value_of(option, given, env, label)
      if PENDING.include?(option.name)
        raise OptionError, "#{label.call(option)} is not in use yet" if given.key?(option.name)

        option.default
      elsif given.key?(option.name) && !(given[option.name].nil? && !option.off?)
        option.coerce(given[option.name], label.call(option))
      elsif (variable = option.env.find { |name| !env[name].to_s.empty? })
        option.coerce(env[variable], "$#{variable}")
      else
        option.default
      end
    end
  end
end
