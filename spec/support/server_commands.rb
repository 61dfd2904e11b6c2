# frozen_string_literal: true

require "tmpdir"
require_relative "command"
require_relative "versioned_app"

# For specs of `push_server stop` and the like: a server with a control socket in @folder, and a user's commands to it.
module ServerCommands
  include Command
  include VersionedApp

  def self.included(group)
    group.around do |example|
      Dir.mktmpdir("push_server-spec") { |dir| (@folder = dir) && example.run }
    end
  end

  def control = File.join(@folder, "control.sock")

  def serve(*options) = start_app(app_of("one"), "--control-socket", control, *options)

  # Runs a command of a user to this server.
  def command(*words, **how) = push_server(*words, "--control-socket", control, **how)

  # Runs a command while the example goes on.
  def meanwhile(*words) = Thread.new { command(*words) }
end
