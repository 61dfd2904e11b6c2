# frozen_string_literal: true

require "json"
require_relative "error"
require_relative "machine"

module Bench
  # The load generator, a program in Rust: bench/load.
  module Generator
    FOLDER = File.expand_path("load", __dir__)
    TARGET = File.join(FOLDER, "target")
    PROGRAM = File.join(TARGET, "release/load")
    # Exit status of a load that the server cannot do.
    UNSUPPORTED = 3
    # What it prints when it pauses, until it gets a line.
    PAUSE = "pause\n"
    private_constant :PAUSE, :FOLDER, :TARGET, :PROGRAM, :UNSUPPORTED

    module_function

    # Builds it, if its source has changed.
    # @raise [Error]
    def build
      path = [ENV.fetch("PATH"), File.join(ENV.fetch("CARGO_HOME") { File.join(Dir.home, ".cargo") }, "bin")].join(":")
      environment = { "PATH" => path, "CARGO_TARGET_DIR" => TARGET }
      command = %w[cargo build --release --locked --quiet]
      case system(environment, *command, chdir: FOLDER)
      when nil then raise Error, "the load generator cannot be built: there is no cargo. Install Rust with rustup"
      when false then raise Error, "the load generator cannot be built: see above"
      end
    end

    # Runs a load on a server.
    # @param arguments [Array<String>] bench/load's --help lists them
    # @param process [ServerProcess]
    # @param cpu [String, nil] the CPU it is pinned to
    # @yield at each pause, if the arguments have --operations
    # @return [Hash{Symbol => Numeric, nil}] what it measured
    # @raise [Unsupported, Error]
    def run(arguments, process, cpu:)
      command = [*Machine.pinned(cpu), PROGRAM, *arguments, "--port", process.port.to_s, "--pid", process.pid.to_s]
      output = IO.popen([*command, { err: %i[child out], **Machine.many_sockets }], "r+") do |program|
        lines = +""
        while (line = program.gets)
          next lines << line unless line == PAUSE

          yield
          program.puts
        end
        lines
      rescue SignalException
        Process.kill(:TERM, program.pid)
        raise
      end
      status = Process.last_status
      return JSON.parse(output, symbolize_names: true) if status.success?

      why = output.empty? ? "the generator ended early: #{status}" : output.strip.delete_prefix("load: ")
      raise (status.exitstatus == UNSUPPORTED ? Unsupported : Error), why
    end
  end
end
