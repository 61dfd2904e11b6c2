# frozen_string_literal: true

require_relative "option"

module PushServer
  # The rows of the table of options that are not limits of the core.
  class Options
    # Groups are the headings of --help, in the order in which they appear here.
    OWN = [
      Option.new(:bind, :binds, "Where to listen, such as tcp://127.0.0.1:3000 or unix:///run/app.sock?mode=0660; may be " \
                                "repeated. localhost means 127.0.0.1 and [::1], * means all addresses, port 0 means a " \
                                "free port, fd://3 an inherited socket, fd://NAME one that systemd passes, " \
                                "ssl://host:port?cert=PATH&key=PATH an address with TLS. Default: what " \
                                "systemd passes, or localhost in development and test, * in other environments",
                 group: "Listening", switches: %w[-b --bind]),
      Option.new(:host, :text, "The host to listen on, if bind is not given", switches: []),
      Option.new(:port, :port, "The port, if --bind names none",
                 group: "Listening", default: 9292, env: %w[PORT], switches: %w[-p --port]),
      Option.new(:tls_self_signed, :flag, "An ssl:// address needs no certificate: the server makes one, for development. " \
                                          "Without bind, the server listens with TLS",
                 group: "Listening", default: false),
      Option.new(:control_socket, :socket, "The Unix socket for the commands. Default: " \
                                           "tmp/sockets/push_server.control.sock, or none for one process in test",
                 group: "Listening", default: :default, off: true),
      Option.new(:publish_socket, :socket, "The Unix socket for processes without a server that publish. Default: " \
                                           "tmp/sockets/push_server.publish.sock, or none for one process in test",
                 group: "Listening", default: :default, off: true),
      Option.new(:publish_socket_mode, :mode, "The permissions of the publish socket: each process that may connect may " \
                                              "publish",
                 group: "Listening", default: 0o600),
      Option.new(:metrics, :endpoint, "Where to serve metrics for Prometheus, such as tcp://127.0.0.1:9394 or " \
                                      "unix:///run/metrics.sock?mode=0660: at /metrics, and as JSON at /stats. Everybody who " \
                                      "reaches it may read it",
                 group: "Listening", off: true),
      Option.new(:trusted_proxy, :networks, "The address or network of a proxy, such as 10.0.0.0/8, whose X-Forwarded-For and " \
                                        "X-Forwarded-Proto are believed; may be repeated. 127.0.0.1 includes Unix sockets",
                 group: "Listening", default: []),
      Option.new(:proxy_protocol, :flag, "Each connection of a trusted_proxy begins with a PROXY protocol header, version 2",
                 group: "Listening", default: false),
      Option.new(:http2, :flag, "Speak HTTP/2 with clients that begin with it", group: "Listening", default: true,
                 switches: %w[--http2]),
      Option.new(:http2_websocket, :flag, "Let clients of HTTP/2 open WebSockets in the same connection (RFC 8441)",
                 group: "Listening", default: true, switches: %w[--http2-websocket]),
      Option.new(:workers, :workers, "Worker processes. auto: as many as the process may use CPUs, by its affinity and its " \
                                     "container's quota. 0: one process, which serves by itself",
                 group: "Processes", default: 0, env: %w[WEB_CONCURRENCY], switches: %w[-w --workers], most: 1000),
      Option.new(:preload, :flag, "Load the app once and fork the workers from it, so that they share its memory. " \
                                  "Otherwise each worker loads the app itself",
                 group: "Processes", default: true, switches: %w[--preload]),
      Option.new(:restart_overlap, :count, "New workers that are started before the old ones stop, at a phased restart. " \
                                           "Default: all with preload, 1 without",
                 group: "Processes", least: 1),
      Option.new(:worker_timeout, :seconds, "Time in which Ruby must answer in a worker. Beyond it the worker's backtraces " \
                                            "are logged, and it is killed and replaced",
                 group: "Processes", default: 60, least: 2, off: true),
      Option.new(:worker_boot_timeout, :seconds, "Longest time that the app may take to load, and a worker to begin to " \
                                                 "serve. Beyond it the process is killed",
                 group: "Processes", default: 60, least: 1, off: true),
      Option.new(:worker_max_memory, :bytes, "Memory of a worker, with its share of what it shares with others (PSS). " \
                                             "Beyond it the worker is drained and replaced",
                 group: "Processes", least: 1 << 20, off: true),
      Option.new(:threads, :threads, "Ruby threads, in each process, that run the app and its callbacks",
                 group: "Running", default: 5, env: %w[RAILS_MAX_THREADS], switches: %w[-t --threads], least: 1, most: 1000),
      # APP_ENV comes first, as in Puma and Sinatra.
      Option.new(:environment, :text, "The environment; the server sets RACK_ENV to it",
                 group: "Running", default: "development", env: %w[APP_ENV RACK_ENV RAILS_ENV],
                 switches: %w[-e --environment]),
      Option.new(:config, :file, "The configuration file. Default: config/push_server/ENVIRONMENT.rb, or else " \
                                 "config/push_server.rb, if there is one. -: none",
                 group: "Running", switches: %w[-C --config]),
      Option.new(:directory, :directory, "The folder in which the server runs. Relative paths begin there. It is found " \
                                         "anew at a restart, also if it is a symbolic link. Default: the current folder",
                 group: "Running"),
      Option.new(:tag, :title, "A name for the titles of the processes, as ps shows them. Default: the name of the folder",
                 group: "Running"),
      Option.new(:pidfile, :file, "A file for the pid of the server, which exists while it serves", group: "Running", off: true),
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
      Option.new(:broadcast_secret, :secret, "The secret of programs in other languages that publish by POST requests. Set it " \
                                             "by the environment variable: command lines are visible to all users",
                 group: "Push", env: %w[PUSH_SERVER_BROADCAST_SECRET], off: true),
      Option.new(:broadcast_path, :location, "The path of these requests, if there is a broadcast_secret",
                 group: "Push", default: "/_broadcast"),
      Option.new(:allowed_origins, :list, "An origin whose pages may open a WebSocket, such as https://example.com, or * " \
                                          "for any; may be repeated. Pages of the server's own host and port are " \
                                          "always allowed",
                 group: "Push", switches: %w[--allow-origin], default: [], metavar: "URL"),
      Option.new(:slow_client, :choice, "What happens to a slow client: close it, or reject what is written to it",
                 group: "Push", default: :close, metavar: "POLICY", choices: %i[close reject]),
      Option.new(:websocket_compression, :flag, "Compress WebSocket messages in both directions, for clients that offer " \
                                                "permessage-deflate",
                 group: "Push", default: false)
    ].freeze
    private_constant :OWN
  end
end
