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
    # A URL that takes the port from the option.
    WITHOUT_PORT = %r{\A(?:tcp|ssl)://(?:\[[^\]]*\]|[^:/\[\]?]+)/?(?:\?.*)?\z}
    private_constant :WITHOUT_PORT

    # A row of NativeServer::LIMITS as an Option.
    def self.limit(name:, default:, least:, most:, off:, unit:, doc:)
      group = %i[seconds milliseconds].include?(unit) ? "Timeouts" : "Limits"
      Option.new(name, unit, doc, group: group, default: default, least: least, most: most, off: off)
    end
    private_class_method :limit

    LIMITS = NativeServer::LIMITS.map { |row| limit(**row) }.freeze
    private_constant :LIMITS

    # Every option, in the order of --help: name => Option.
    TABLE = (OWN + LIMITS).to_h { |option| [option.name, option] }.freeze

    # @param given [Hash{Symbol => Object}] options by name; Strings are converted
    # @param env [#[]] the environment variables
    # @param file [Hash{Symbol => ConfigurationFile::Setting}] what a configuration file sets
    # @param defaults [Hash{Symbol => Object}] what takes the place of the defaults
    # @param folder [String] the folder in which a relative `directory` begins, and all other paths if there is no `directory`
    # @yieldparam option [Option] how the user named this option, for errors (default: "name:")
    # @yieldreturn [String]
    # @raise [OptionError] for an unknown name or a wrong value
    def initialize(given = {}, env: ENV, file: {}, defaults: {}, folder: Dir.pwd, &label)
      unknown = given.keys.find { |name| !TABLE.key?(name) }
      raise OptionError, "there is no option #{unknown.inspect}#{Options.suggestion(unknown)}" if unknown

      label ||= ->(row) { "#{row.name}:" }
      @settings = {}
      @defaults = defaults
      @port_in_file = file.key?(:port)
      # The other paths begin there.
      @settings[:directory] = setting(TABLE.fetch(:directory), given, env, file, folder, label)
      folder = self[:directory] || folder
      TABLE.each_value { |option| @settings[option.name] ||= setting(option, given, env, file, folder, label) }
      @settings.freeze
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

    # All values for another process of the same server, which may have another version: {.load} makes options of them.
    # @return [String]
    def dump = [Marshal.dump(@settings.transform_values(&:to_a))].pack("m0")

    # Options with the values that another process has dumped. Those that it does not know have their defaults.
    # @param text [String]
    # @return [Options]
    def self.load(text)
      settings = Marshal.load(text.unpack1("m0")) # rubocop:disable Security/MarshalLoad -- it comes from the supervisor
      allocate.tap { |options| options.__send__(:restore, settings) }
    end

    # The value of an option.
    # @raise [KeyError] for an unknown name
    def [](name) = @settings.fetch(name).value

    # @return [Hash{Symbol => Object}] all values, by name
    def to_h = @settings.transform_values(&:value)

    # Where the value of an option comes from, as the user knows it: "--port", "$PORT", "config/push_server.rb:3", "port:".
    # @return [String, nil] nil: it is the default
    def source(name) = @settings.fetch(name).source

    # Whether an option was given, on a command line or in Ruby, or is a default of the code that has made these options.
    def chosen?(name) = origin(name) == :given || (origin(name) == :default && !source(name).nil?)

    # Where to listen: what `bind` says, or `host`, or what the environment makes the default.
    # @return [Array<String>] URLs; see {Endpoint}
    def binds
      return [host_url] if self[:bind].nil? || replaced?

      port_too? ? [*self[:bind], host_url] : self[:bind]
    end

    # Whether the user has said where to listen.
    def binds? = %i[bind host port].any? { |name| source(name) }

    # The name of the app in the titles of processes; may be empty.
    # @param folder [String] the folder in which the server was started, as its user typed it
    # @return [String]
    def tag(folder) = self[:tag] || File.basename(self[:directory] || folder)

    # Whether there is a log file, which can be moved away and then be opened anew.
    def log_file? = self[:access_log] != :off && self[:access_log_file] != "-"

    # Limits whose default is a part of the machine, which workers share.
    SHARED = %i[max_queued_total max_spooled_total].freeze
    # The least that a worker gets.
    LEAST_SHARE = 1 << 20
    private_constant :SHARED, :LEAST_SHARE

    # The settings for `NativeServer.new`.
    # @param processes [Integer] how many processes serve
    # @return [Hash{Symbol => Object}]
    def settings(processes: 1)
      to_h.slice(*LIMITS.map(&:name), :sse_event, :poll_parameter, :allowed_origins, :slow_client, :websocket_compression,
                 :public_dir, :threads, :access_log, :access_log_file, :trusted_proxy, :proxy_protocol, :http2, :http2_websocket)
          .merge(hint_event_name: hint_event_name?, hint_text_in_bytes: development?, **shares(processes))
    end

    private

    def restore(settings)
      known = settings.slice(*TABLE.keys).transform_values { |setting| Setting.new(*setting).freeze }
      @settings = TABLE.to_h { |name, option| [name, known[name] || Setting.new(option.default, nil, :default)] }.freeze
      freeze
    end

    # A value and where it comes from. origin: :given, :environment, :file or :default; the first of these that has a value
    # counts.
    Setting = Struct.new(:value, :source, :origin)
    private_constant :Setting

    def shares(processes)
      missing = SHARED.select { |name| self[name].nil? }
      return {} if processes < 2 || missing.empty?

      NativeServer.machine.slice(*missing).transform_values { |bytes| [bytes / processes, LEAST_SHARE].max }
    end

    # Whether the developer gets the hint about the names of events: only if sse_event is not set.
    def hint_event_name? = source(:sse_event).nil? && development?

    def development? = self[:environment] == "development"

    def default_host = PRIVATE_ENVIRONMENTS.include?(self[:environment]) ? "localhost" : ANY_HOST

    def host_url
      host = self[:host] || default_host
      # rackup takes a bare IPv6 address as its host.
      "#{self[:tls_self_signed] ? "ssl" : "tcp"}://#{host.count(":") > 1 && !host.start_with?("[") ? "[#{host}]" : host}"
    end

    def origin(name) = @settings.fetch(name).origin

    # Whether a host or a port on the command line takes the place of what a file binds.
    def replaced? = origin(:bind) == :file && %i[host port].any? { |name| origin(name) == :given }

    # In a configuration file, port is one more place to listen, as in Puma, unless a URL needs it.
    def port_too?
      origin(:bind) == :file && @port_in_file && self[:bind].none?(WITHOUT_PORT)
    end

    def setting(option, given, env, file, folder, label)
      # What a file has is checked, even if it does not count.
      in_file = file[option.name] && from_file(option, file[option.name], folder)
      if given.key?(option.name) && !(given[option.name].nil? && !option.off?)
        source = label.call(option)
        Setting.new(option.coerce(given[option.name], source, base: folder), source, :given)
      elsif (variable = option.env.find { |name| !env[name].to_s.b.strip.empty? })
        Setting.new(option.coerce(env[variable], "$#{variable}", base: folder), "$#{variable}", :environment)
      else
        in_file || default(option, label, folder)
      end
    end

    def default(option, label, folder)
      return Setting.new(option.default, nil, :default) if @defaults[option.name].nil?

      source = label.call(option)
      Setting.new(option.coerce(@defaults[option.name], source, base: folder), source, :default)
    end

    def from_file(option, setting, folder)
      value = setting.value
      # A Pathname, or a Symbol, is as good as a String there.
      value = value.to_s if value.is_a?(Symbol) || value.respond_to?(:to_path)
      return if value.nil? && !option.off?

      Setting.new(option.coerce(value, "#{setting.place}: #{option.name}", base: folder), setting.place, :file)
    end
  end
end
