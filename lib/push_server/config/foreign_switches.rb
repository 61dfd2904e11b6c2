# frozen_string_literal: true

module PushServer
  # Hints about switches of Puma, Iodine, Agoo, Thin and rackup that push_server does not have, or has under another name.
  module ForeignSwitches
    # Only switches that mean the same on all servers that have them. A spec checks that none of them is ours.
    HINTS = {
      %w[-w --workers -workers -s --servers] => "push_server runs one process; --threads says how many threads it has",
      %w[-d --daemonize -D --daemon] =>
        "push_server stays in the foreground; systemd or a container can keep it in the background",
      %w[-C --config -c -config --no-config] =>
        "push_server reads no configuration file; its options are on the command line, and some in environment variables",
      %w[-o --host -a --address -address -l --listen] => "the address to listen on is --bind tcp://HOST:PORT",
      %w[-S --socket] => "the socket to listen on is --bind unix:///PATH",
      %w[--bind-to-activated-sockets] => "a socket that the process inherits is --bind fd://NUMBER",
      %w[-E --env] => "the environment is -e or --environment",
      %w[-R --rackup] => "name the config.ru without a switch",
      %w[-I --include -r --require] => "set RUBYOPT to load a library, and RUBYLIB to add a folder",
      %w[-P --pid --pidfile -pid -pidfile] => "push_server writes no pid file; its pid is the pid of the process that you start",
      %w[-V -verbosity --debug] => "--version prints the version, --log-level sets how much is logged",
      %w[--log -log --log-requests --log-dir] => "--access-log FORMAT logs every response",
      %w[--redirect-stdout --redirect-stderr --redirect-append] =>
        "--access-log-file PATH is the file of the access log; the shell or systemd redirects the rest",
      %w[--silent] => "--quiet leaves only warnings and errors",
      %w[--control-url --control-token --state --stats] =>
        "push_server has no control server; signals stop it, and PushServer.stats returns counters",
      %w[--restart-cmd --prune-bundler --extra-runtime-dependencies --preload -warmup --fork-worker -f] =>
        "push_server runs one process, which loads the app once and does not restart by itself",
      %w[--chdir --dir -dir] => "change the folder before you start it; --public DIR serves files",
      %w[-www --root --root_first --root-first] => "files are served from --public DIR",
      %w[-tls -tls-cert -cert -tls-key -key -tls-pass -tls-password --ssl --ssl_cert --ssl-cert --ssl_key --ssl-key] =>
        "push_server does not support TLS; put a proxy in front of it (docs/proxies.md)",
      %w[-k -keep-alive -tout --persistent-timeout --timeout] =>
        "the timeout between two requests is --keep-alive-timeout SECONDS",
      %w[-max-body -maxbd] => "the limit is --max-body-size BYTES",
      %w[-max-header -maxhd] => "the limit is --max-head-size BYTES",
      %w[-max-msg -maxms] => "the limit is --max-message-size BYTES",
      %w[-ping] => "the interval is --ping-interval SECONDS",
      %w[-redis -redis-ping -rp] => "push_server has no Redis engine; its channels belong to one process",
      %w[-g --graphql] => "push_server has no GraphQL; use a GraphQL library in the Rack app",
      %w[--plugin --tag --idle-timeout --user --group -u --prefix --threaded] => "push_server has no such option",
      %w[--early-hints] => "env[\"rack.early_hints\"] is always there"
    }.flat_map { |switches, hint| switches.map { |switch| [switch, hint] } }.to_h.freeze
    private_constant :HINTS

    class << self
      # @param switch [String] such as `-w`
      # @return [String, nil] the hint, if another server has that switch
      def [](switch) = HINTS[switch]

      # @return [Boolean] whether another server has that switch
      def include?(switch) = HINTS.key?(switch)

      # @return [Array<String>] all of them
      def names = HINTS.keys
    end
  end
end
