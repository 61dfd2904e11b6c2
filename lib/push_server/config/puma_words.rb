# frozen_string_literal: true

require_relative "hooks"

module PushServer
  # The words of Puma's configuration file, so that its users can copy theirs: each is the same here, has another name, is
  # not needed, or is not there. docs/puma.md has this as a table.
  module PumaWords
    # Words that are spelled as in Puma and do the same: word => what is different, for the documentation.
    SAME = {
      bind: "`backlog` and `umask` are refused; `mode` is there",
      bind_to_activated_sockets: "without `bind`, all sockets that systemd passes are served",
      clear_binds!: nil,
      directory: nil,
      environment: nil,
      get: "returns what the file has set above",
      inject: nil,
      load: nil,
      pidfile: nil,
      port: nil,
      preload_app!: "`preload` is the same. It is on by default",
      rackup: nil,
      silence_fork_callback_warning: nil,
      ssl_bind: "takes `cert`, `key`, `ca` and `verify_mode`; other keys are refused (docs/tls.md)",
      tag: nil,
      threads: "the number of threads is fixed: the second number counts",
      worker_boot_timeout: nil,
      worker_timeout: nil,
      workers: nil
    }.freeze

    # Words with another name here, which are taken as well: word => option.
    RENAMED = {
      first_data_timeout: :head_timeout, force_shutdown_after: :drain_timeout, http_content_length_limit: :max_body_size,
      persistent_timeout: :keep_alive_timeout, set_default_host: :host, worker_shutdown_timeout: :drain_timeout,
      log_requests: :access_log, quiet: :log_level, debug: :log_level
    }.freeze

    # Words that have no effect here. They are logged: word => why they are not needed.
    IGNORED = {
      activate_control_app: "the control socket is always there; control_socket sets its place",
      after_refork: "workers are forked from the leader, which serves no clients; before_fork runs there",
      before_refork: "workers are forked from the leader, which serves no clients; before_fork runs there",
      clean_thread_locals: "use ActiveSupport::CurrentAttributes or a middleware to clear what a request leaves",
      custom_logger: "the log goes to stderr, and access_log has every response",
      drain_on_shutdown: "connections that wait are always served before the server stops",
      early_hints: "env[\"rack.early_hints\"] is always there",
      enable_keep_alives: "a client with many requests does not hold up the others",
      extra_runtime_dependencies: "the supervisor loads neither the app nor its gems",
      fiber_per_request: "use ActiveSupport::CurrentAttributes or a middleware to clear what a request leaves",
      fork_worker: "with preload, new workers are forked from the leader, which has loaded the app and serves no clients",
      io_selector_backend: "the core waits for sockets by itself",
      log_formatter: "access_log :json is for programs",
      lowlevel_error_handler: "after an exception in the app the answer is 500, and the log has the exception",
      max_fast_inline: "a client with many requests does not hold up the others",
      max_io_threads: "a response that waits for its client holds no thread; threads is the number that run the app",
      max_keep_alive: "a client with many requests does not hold up the others",
      mutate_stdout_and_stderr_to_sync_on_write: "the command push_server always writes stdout at once",
      on_refork: "workers are forked from the leader, which serves no clients; before_fork runs there",
      out_of_band: "streams need the process between requests, too; start a thread in before_worker_boot",
      prune_bundler: "the supervisor loads neither the app nor its gems, and a restart sets Bundler up anew",
      queue_requests: "the core always reads requests before a thread runs the app",
      raise_exception_on_sigterm: "TERM stops the server with status 0",
      restart_command: "a restart runs the command line with which the server was started",
      shutdown_debug: "push_server backtraces logs the backtraces of all threads, at any time",
      silence_single_worker_warning: "there is no such warning",
      state_path: "push_server commands find the server by its control socket; pidfile has the pid",
      state_permission: "push_server commands find the server by its control socket; pidfile has the pid",
      stdout_redirect: "systemd or the shell redirects stdout and stderr; access_log_file is the file of the access log",
      supported_http_methods: "requests with any method reach the app",
      wait_for_less_busy_worker: "a worker that has accepted a connection pauses, so that the others get the next ones",
      worker_check_interval: "the supervisor decides how often it asks; worker_timeout is the longest time without an answer",
      worker_culling_strategy: "the worker with the highest number goes first"
    }.freeze

    # Words without which the server would not do what the file asks for. They are errors: word => what to do.
    REFUSED = {
      after_worker_shutdown: "before_worker_shutdown runs in the worker; the log says how each worker ends",
      allow_underscore_headers: "headers with an underscore are dropped; have the proxy send them with dashes",
      app: "name a config.ru with rackup",
      cluster: "write its words outside of the block, or in an `if`",
      daemonize: "push_server stays in the foreground; systemd or a container can keep it in the background",
      default_host: "get(:host) returns the host that the file has set above",
      idle_timeout: "a server without requests goes on; systemd can start it when the first connection comes",
      rack_url_scheme: "trusted_proxy takes the scheme from X-Forwarded-Proto",
      set_remote_address: "trusted_proxy takes the address from X-Forwarded-For, proxy_protocol from the PROXY protocol",
      single: "write its words outside of the block, or in an `if`",
      tcp_mode!: "bind takes tcp:// URLs, for HTTP"
    }.freeze

    # Plugins that come with Puma: what to do without them. Other plugins are refused.
    PLUGINS = {
      tmp_restart: "push_server does not watch tmp/restart.txt; push_server restart, or the signal USR2, restarts it",
      systemd: "push_server tells systemd of its state without a plugin"
    }.freeze

    # All words that Puma has and that are no hooks.
    ALL = [*SAME.keys, *RENAMED.keys, *IGNORED.keys, *REFUSED.keys, :plugin].freeze
  end
end
