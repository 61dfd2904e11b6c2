# frozen_string_literal: true

require_relative "errors"

module PushServer
  # Methods, constants and options of Iodine and Agoo that push_server does not have, or has under another name. If an app
  # uses one, an error says what to use instead. `respond_to?` and `defined?` are false for them.
  #
  # docs/migration.md has the same as a table.
  module Unsupported
    OPTIONS = "give options to PushServer.run or PushServer::Server.init, or on the command line"
    TIMERS = "push_server has no timers; start a thread that sleeps and then calls client.write or PushServer.publish"
    STATES = "a hook in config/push_server.rb, such as before_worker_boot, runs there; or put the code before or after " \
             "PushServer.run or PushServer::Server.start"
    RUN = "PushServer.run(app, port: 3000) serves an app, PushServer::Server.start starts the embedded form"
    STOP = "PushServer::Server.shutdown, or the signal TERM, stops the server"
    LOG = "the option access_log logs requests, the option log_level sets what else is logged, PushServer.log writes a line"
    BROKER = "there are no engines; PushServer.publish reaches the clients of all workers of the server"
    TLS = "bind an ssl:// URL with cert and key (docs/tls.md)"
    FILES = "files are served from one folder: the option public_dir, or root in PushServer::Server.init"
    ALWAYS = "env[\"rack.early_hints\"] is always there"
    GRAPHQL = "push_server has no GraphQL; use a GraphQL library in a handler or a Rack app"
    ENV_ONLY = "an app gets the Rack env, in call(env)"
    private_constant :OPTIONS, :TIMERS, :STATES, :RUN, :STOP, :LOG, :BROKER, :TLS, :FILES, :ALWAYS, :GRAPHQL, :ENV_ONLY

    # Methods, by the object that is called: name => what to use instead.
    METHODS = {
      "PushServer" => {
        subscribe: "a subscription belongs to a client: client.subscribe(channel)",
        unsubscribe: "a subscription belongs to a client: client.unsubscribe(channel)",
        listen: RUN, listen2http: RUN, start: RUN, shutdown: STOP, stop: STOP, connect: "push_server is only a server",
        attach_fd: "push_server serves only connections that it has accepted itself",
        running?: "PushServer::Server.running? says so",
        threads: OPTIONS, "threads=": OPTIONS, workers: OPTIONS, "workers=": OPTIONS,
        verbosity: "PushServer.log_level returns it", "verbosity=": "PushServer.log_level = :debug sets it",
        run_after: TIMERS, run_every: TIMERS, defer: TIMERS, on_idle: TIMERS,
        on_state: STATES, on_shutdown: STATES, before_fork: STATES, after_fork: STATES, after_fork_in_worker: STATES,
        after_fork_in_master: STATES, on_worker_boot: STATES, master?: STATES, worker?: STATES,
        patch_rack: "push_server does not change Rack"
      },
      "PushServer::Server" => {
        stop: STOP, run: RUN, domain: "env[\"HTTP_HOST\"] has the host; Rack::URLMap chooses an app by it",
        path_group: FILES, header_rule: "middleware sets headers: PushServer::Server.use", rack_early_hints: ALWAYS,
        add_mime: "the type of a file comes from its extension; a handler can send another type"
      },
      "PushServer::Client" => {
        con_id: "use the client itself, which can be the key of a Hash",
        conn_id: "use the client itself, which can be the key of a Hash",
        id: "use the client itself, which can be the key of a Hash",
        uuid: "use the client itself, which can be the key of a Hash",
        write_now: "client.write never waits, and sends at once as much as the network accepts",
        has_pending?: "client.pending says how many writes wait, and -1 once the connection is closed",
        defer: "client.write may be called from any thread: Thread.new { … }",
        each: "PushServer.publish reaches all clients of a channel", count: "PushServer.stats counts clients",
        is_open: "client.open? says whether it is open", closed?: "client.open? says whether it is open",
        force_close: "client.close closes the connection", set_timeout: "client.timeout = seconds sets it"
      }
    }.freeze

    # Constants of PushServer: name => what to use instead.
    CONSTANTS = {
      Log: LOG, PubSub: BROKER, DEFAULT_HTTP_ARGS: OPTIONS, DEFAULT_SETTINGS: OPTIONS, TLS: TLS, GraphQL: GRAPHQL,
      Connection: "the class of clients is PushServer::Client", Upgraded: "the class of clients is PushServer::Client",
      Rack: "PushServer.run(app, port: 3000) serves a Rack app", Request: ENV_ONLY,
      Response: "an app returns [status, headers, body]",
      Mustache: "push_server has no templates", JSON: "use Ruby's own JSON"
    }.freeze

    # Options of `init`, `run` and `rackup -O`: name => what to use instead.
    SETTINGS = {
      worker_count: "the option is workers", w: "the option is workers", wc: "the option is workers",
      fork_wrap: "hooks in config/push_server.rb run before and after a fork", ssl_cert: TLS, ssl_key: TLS, tls: TLS,
      graphql: GRAPHQL, hide_schema: GRAPHQL, root: FILES,
      root_first: "the server always looks for a file in public_dir before it calls the app",
      address: "the option is host, or bind", public: "the option is public_dir", service: RUN, handler: RUN, app: RUN,
      connection_timeout: "the options are keep_alive_timeout, head_timeout, body_timeout and write_timeout, in seconds",
      timeout: "the options are keep_alive_timeout, head_timeout, body_timeout and write_timeout, in seconds",
      ping: "the options are ping_interval and sse_heartbeat, in seconds", poll_timeout: "the server does not need it",
      max_push_pending: "the options are max_queued_bytes and slow_bytes", max_clients: "the option is max_connections",
      max_msg: "the option is max_message_size, in bytes", max_body: "the option is max_body_size, in bytes",
      pedantic: "Rack::Lint checks responses", log: LOG, log_dir: LOG, log_classic: LOG, log_console: LOG, log_colorize: LOG,
      verbose: "the option is log_level", quiet: "the option is log_level", silent: "the option is log_level"
    }.freeze

    # @raise [UnsupportedError] if `name` is a method of another server that is missing here
    def self.refuse(owner, name)
      advice = METHODS.fetch(owner, {})[name] or return
      mark = owner == "PushServer::Client" ? "#" : "."
      raise UnsupportedError, "there is no #{owner}#{mark}#{name}: #{advice} (docs/migration.md)"
    end

    # For the singleton methods of modules.
    module ModuleMethods
      private

      def method_missing(called, ...)
        Unsupported.refuse(name, called)
        super
      end

      def respond_to_missing?(*) = super
    end

    # For clients.
    module ClientMethods
      private

      def method_missing(called, ...)
        Unsupported.refuse("PushServer::Client", called)
        super
      end

      def respond_to_missing?(*) = super
    end

    # For the constants of PushServer.
    module Constants
      private

      def const_missing(constant)
        advice = CONSTANTS[constant]
        advice ? raise(UnsupportedError, "there is no PushServer::#{constant}: #{advice} (docs/migration.md)") : super
      end
    end
  end
end
