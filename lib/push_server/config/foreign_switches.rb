# frozen_string_literal: true

module PushServer
  # Hints about switches of Puma, Iodine, Agoo, Thin and rackup that push_server does not have, or has under another name.
  module ForeignSwitches
    # Only switches that mean the same on all servers that have them. A spec checks that none of them is ours.
    HINTS = {
      %w[-workers -s --servers] => "the number of processes is --workers",
      %w[-d --daemonize -D --daemon] =>
        "push_server stays in the foreground; systemd or a container can keep it in the background",
      %w[-c -config --no-config] => "the configuration file is --config PATH; --config - reads none",
      %w[-o --host -a --address -address -l --listen] => "the address to listen on is --bind tcp://HOST:PORT",
      %w[-S --socket] => "the socket to listen on is --bind unix:///PATH",
      %w[--bind-to-activated-sockets] => "a socket that the process inherits is --bind fd://NUMBER",
      %w[-E --env] => "the environment is -e or --environment",
      %w[-R --rackup] => "name the config.ru without a switch",
      %w[-I --include -r --require] => "set RUBYOPT to load a library, and RUBYLIB to add a folder",
      %w[-P --pid -pid -pidfile] => "the pid file is --pidfile PATH",
      %w[-V -verbosity --debug] => "--version prints the version, --log-level sets how much is logged",
      %w[--log -log --log-requests --log-dir] => "--access-log FORMAT logs every response",
      %w[--redirect-stdout --redirect-stderr --redirect-append] =>
        "--access-log-file PATH is the file of the access log; the shell or systemd redirects the rest",
      %w[--silent] => "--quiet leaves only warnings and errors",
      %w[--control-url --control-token] => "the control socket is a Unix socket: --control-socket PATH",
      %w[--state --stats] => "push_server writes no state file; its pid is in --pidfile PATH",
      %w[--restart-cmd] => "a restart runs the command line with which the server was started",
      %w[--prune-bundler --extra-runtime-dependencies] =>
        "push_server does not need it: the supervisor of several processes loads neither the app nor its gems",
      %w[-warmup] => "the app is loaded before the workers are forked, with --preload, which is the default",
      %w[--fork-worker -f] => "push_server does not need it: with --preload new workers are forked from a process with the app",
      %w[--chdir --dir -dir] => "the folder is --directory DIR; --public DIR serves files",
      %w[-www --root --root_first --root-first] => "files are served from --public DIR",
      %w[-tls -tls-cert -cert -tls-key -key -tls-pass -tls-password --ssl --ssl_cert --ssl-cert --ssl_key --ssl-key
         --ssl-cert-file --ssl-key-file --cert --key --certfile --keyfile] =>
        "-b 'ssl://host:port?cert=PATH&key=PATH' serves TLS (docs/tls.md)",
      %w[-k -keep-alive -tout --persistent-timeout --timeout] =>
        "the timeout between two requests is --keep-alive-timeout SECONDS",
      %w[-max-body -maxbd] => "the limit is --max-body-size BYTES",
      %w[-max-header -maxhd] => "the limit is --max-head-size BYTES",
      %w[-max-msg -maxms] => "the limit is --max-message-size BYTES",
      %w[-ping] => "the interval is --ping-interval SECONDS",
      %w[-redis -redis-ping -rp] => "push_server has no Redis engine; its channels belong to one server, with all its workers",
      %w[-g --graphql] => "push_server has no GraphQL; use a GraphQL library in the Rack app",
      %w[--plugin --idle-timeout --user --group -u --prefix --threaded] => "push_server has no such option",
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
