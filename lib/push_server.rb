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
require_relative "push_server/process/outside"
require_relative "push_server/process/single"
require_relative "push_server/server"

# A Rack server with WebSocket and Server-Sent Events push built in.
module PushServer
  # Apps use it through {Service}.
  private_constant :NativeServer

  extend Unsupported::ModuleMethods
  extend Unsupported::Constants
  Server.extend Unsupported::ModuleMethods
  Client.include Unsupported::ClientMethods

  # Serves a Rack app until the server is stopped. In the main thread, INT, TERM and QUIT stop it: the first signal
  # gracefully, the second at once.
  #
  # @example
  #   PushServer.run(app, port: 3000, threads: 8)
  # @param app [#call] a Rack app
  # @param options [Hash] see Options
  # @return [Boolean] true after a graceful stop, false after one at once
  # @raise [OptionError, BindError]
  def self.run(app, **options) = Single.new(app, options).run == :graceful

  # What the server in this process has counted since it was made: connections, requests, each limit that was reached, and
  # so on. Always on, and cheap to read. Any thread.
  #
  # @return [Hash{Symbol => Integer}] empty without a server
  def self.stats = Service.latest&.stats || {}
end
