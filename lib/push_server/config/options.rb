# frozen_string_literal: true

require_relative "option"
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

    OWN = [
      Option.new(:bind, :binds, "Where to listen, such as tcp://127.0.0.1:3000 or unix:///run/app.sock?mode=0660; may be " \
                                "repeated. localhost means 127.0.0.1 and [::1], * means all addresses, port 0 means a " \
                                "free port, fd://3 an inherited socket. Default: localhost in development and test, * in " \
                                "other environments",
                 group: "Listening", switches: %w[-b --bind]),
      Option.new(:host, :text, "The host to listen on, if bind is not given", switches: []),
      Option.new(:port, :port, "The port, if --bind names none",
                 group: "Listening", default: 9292, env: %w[PORT], switches: %w[-p --port]),
      Option.new(:control_socket, :socket, "The Unix socket for the commands. Default: " \
                                           "tmp/sockets/push_server.control.sock, or none for one process in test",
                 group: "Listening", default: :default, off: true),
      Option.new(:publish_socket, :socket, "The Unix socket for processes without a server that publish. Default: " \
                                           "tmp/sockets/push_server.publish.sock, or none for one process in test",
                 group: "Listening", default: :default, off: true),
      Option.new(:publish_socket_mode, :mode, "The permissions of the publish socket: each process that may connect may " \
                                              "publish",
                 group: "Listening", default: 0o600),
      Option.new(:threads, :count, "Ruby threads that run the app and its callbacks",
                 group: "Running", default: 5, env: %w[RAILS_MAX_THREADS], switches: %w[-t --threads], least: 1, most: 1000),
      # APP_ENV comes first, as in Puma and Sinatra.
      Option.new(:environment, :text, "The environment; the server sets RACK_ENV to it",
                 group: "Running", default: "development", env: %w[APP_ENV RACK_ENV RAILS_ENV],
                 switches: %w[-e --environment]),
      Option.new(:public_dir, :directory, "A folder whose files the server sends without calling the app",
                 group: "Running", switches: %w[--public], off: true),
      Option.new(:drain_timeout, :seconds, "Longest time that a stopping server waits for requests and streams to end",
                 group: "Running", default: 25),
      Option.new(:log_level, :choice, "The lowest level that is logged: debug, info, warn or error",
                 group: "Running", default: :info, metavar: "LEVEL", choices: %i[debug info warn error]),
      Option.new(:access_log, :choice, "The format in which every response is logged: common or combined, as in Apache, " \
                                       "or json; or off",
                 group: "Running", default: :off, metavar: "FORMAT", choices: %i[off common combined json]),
      Option.new(:access_log_file, :file, "The file of the access log; HUP opens it again; - is stdout",
                 group: "Running", default: "-"),
      Option.new(:sse_event, :text, "The event name of a plain client.write over SSE. With '' events have no name; only " \
                                    "such events reach EventSource#onmessage",
                 group: "Push", default: "msg", off: true),
      Option.new(:poll_parameter, :text, "The query parameter, in seconds, that makes an event stream a long poll; '' for " \
                                         "none",
                 group: "Push", default: "push_wait", off: true),
      Option.new(:javascript, :location, "The path at which the server has push.js, the library for the browser",
                 group: "Push", off: true),
      Option.new(:allowed_origins, :list, "An origin whose pages may open a WebSocket, such as https://example.com, or * " \
                                          "for any; may be repeated. Pages of the server's own host and port are " \
                                          "always allowed",
                 group: "Push", switches: %w[--allow-origin], default: [], metavar: "URL"),
      Option.new(:slow_client, :choice, "What happens to a slow client: close it, or reject what is written to it",
                 group: "Push", default: :close, metavar: "POLICY", choices: %i[close reject])
    ].freeze
    private_constant :OWN

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
      if given.key?(option.name) && !(given[option.name].nil? && !option.off?)
        option.coerce(given[option.name], label.call(option))
      elsif (variable = option.env.find { |name| !env[name].to_s.empty? })
        option.coerce(env[variable], "$#{variable}")
      else
        option.default
      end
    end
  end
end
