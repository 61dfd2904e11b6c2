# frozen_string_literal: true

require "open3"
require_relative "error"
require_relative "server"

module Bench
  # The servers that are measured without an option.
  module Servers
    PUSH_SERVER = %w[-b %{bind} -t %{threads} -e production --quiet %{app}].freeze
    # -C -: without a configuration file that may be in the current folder.
    PUMA = %w[puma -C - -b %{bind} -t %{threads}:%{threads} -w 0 -e production --quiet %{app}].freeze
    private_constant :PUSH_SERVER, :PUMA

    module_function

    # push_server of a checkout, which is set up first if it must be, so that nothing is compiled between two rounds.
    # @param root [String] the checkout's folder
    # @return [Server]
    # @raise [Error]
    def push_server(root, name: "push_server")
      run = File.join(root, "bin/run")
      raise Error, "#{root} is no checkout of push_server: there is no bin/run in it" unless File.executable?(run)

      output, status = Open3.capture2(run, "env", "-0")
      raise Error, "#{root} could not be set up: #{run} says why" unless status.success?

      environment = output.split("\0").to_h { |line| line.split("=", 2) }
      command = ["ruby", File.join(root, "exe/push_server")]
      Server.new(name, [*command, *PUSH_SERVER], environment: environment, version: version(command, environment),
                 takes_options: true)
    end

    # Puma, if its command is installed, as a gem or a Debian package.
    # @return [Server, nil]
    def puma
      version = version(%w[puma])
      version && Server.new("puma", PUMA, version: version)
    end

    # @return [String, nil] what a command prints for --version
    def version(command, environment = {})
      output, status = Open3.capture2e(environment, *command, "--version")
      output.lines.first&.strip if status.success?
    rescue SystemCallError
      nil
    end
  end
end
