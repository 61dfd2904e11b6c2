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
require_relative "push_server/rack/default_handler"
require_relative "push_server/rack/javascript"
require_relative "push_server/rack/sendfile"
require_relative "push_server/rack/spooled_input"
require_relative "push_server/config/options"
require_relative "push_server/process/exec_variables"
require_relative "push_server/process/outside"
require_relative "push_server/config/configuration"
require_relative "push_server/process/single"
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

  # What the server in this process has counted since it was made: connections, requests, each limit that was reached, and
  # so on. Always on, and cheap to read. Any thread.
  #
  # @return [Hash{Symbol => Integer}] empty without a server
  def self.stats = Service.latest&.stats || {}
end
