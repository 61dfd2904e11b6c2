# frozen_string_literal: true

require_relative "push_server/version"

# Precompiled gems carry one library per Ruby ABI; a source gem has one.
begin
  require "push_server/#{RUBY_VERSION[/\d+\.\d+/]}/push_server"
rescue LoadError
  require "push_server/push_server"
end

require_relative "push_server/errors"
require_relative "push_server/unsupported"
require_relative "push_server/log"
require_relative "push_server/callbacks"
require_relative "push_server/channels"
require_relative "push_server/client"
require_relative "push_server/rack/bodies"
require_relative "push_server/rack/client_certificate"
require_relative "push_server/rack/default_handler"
require_relative "push_server/rack/javascript"
require_relative "push_server/rack/sendfile"
require_relative "push_server/rack/spooled_input"
require_relative "push_server/config/options"
require_relative "push_server/process/exec_variables"
require_relative "push_server/process/outside"
require_relative "push_server/config/configuration"
require_relative "push_server/process/single"
require_relative "push_server/process/statistics"
require_relative "push_server/process/program"
require_relative "push_server/server"

# A Rack server with WebSocket and Server-Sent Events push built in.
module PushServer
  # Apps use it through {Service}.
  private_constant :NativeServer

  extend Unsupported::ModuleMethods
  extend Unsupported::Constants
  Server.extend Unsupported::ModuleMethods
  Client.include Unsupported::ClientMethods

  # The program before this one has executed this one: what the app starts while it is loaded must not keep its sockets open.
  ExecVariables.hidden

  # A supervisor has started this process: the app is not to see how.
  OwnProcess.prepare if ENV.key?(Role::NAME)

  # Serves a Rack app until the server is stopped. In the main thread, INT, TERM and QUIT stop it: the first signal
  # gracefully, the second at once.
  #
  # With `workers:`, the process executes a supervisor in its place, which runs the program again for its other processes.
  # There, this method serves. So it must be called in the main thread, and it does not return: the process ends.
  #
  # @example
  #   PushServer.run(app, port: 3000, threads: 8)
  # @param app [#call] a Rack app
  # @param options [Hash] see Options. `config:` names a configuration file; without it, none is read
  # @return [Boolean] true after a graceful stop, false after one at once
  # @raise [OptionError, BindError]
  def self.run(app, **options)
    # $WEB_CONCURRENCY is not for a program that does not ask for workers.
    given = { config: Configuration::NONE, **options, workers: options[:workers] || 0 }
    configuration = Configuration.new(given, quiet: Program.child?)
    return Program.run(app, configuration) if configuration.options[:workers].positive?

    Single.new(app, configuration.options, hooks: configuration.hooks).run == :graceful
  end

  # What the server has counted: connections, requests, each limit that was reached, and so on. docs/statistics.md has the
  # names. Always on, and cheap to read. Any thread.
  #
  # With `:all`, it is what all workers of the server have counted, those too that have ended. The Hash has `stats`, the sums;
  # `histograms`, each with `count`, `sum` in microseconds, and `buckets`: how many took at most so many microseconds; and
  # `workers`, which run now: for each its `number`, `process`, `pid` and own `stats`. With one process, `workers` is empty.
  #
  # @example
  #   PushServer.stats[:open_websockets]             # => 1312
  #   PushServer.stats(:all)[:stats][:requests]      # => 481516
  # @param scope [nil, :all] nil: the server in this process, since it was made
  # @return [Hash{Symbol => Integer}] empty without a server
  # @return [Hash{Symbol => Object}] with `:all`
  # @raise [ArgumentError] for another scope
  def self.stats(scope = nil)
    case scope
    when nil then Service.latest&.stats || {}
    when :all then Statistics.all
    else raise ArgumentError, "PushServer.stats takes nothing or :all, not #{scope.inspect}"
    end
  end
end
