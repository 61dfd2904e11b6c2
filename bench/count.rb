# frozen_string_literal: true

require "fileutils"
require "tmpdir"
require_relative "../rakelib/callgrind"
require_relative "error"
require_relative "generator"
require_relative "result"
require_relative "server_process"

module Bench
  # Counts what an operation costs a server's process: each server runs once under callgrind, which counts the instructions of
  # all that the process does outside of the kernel, and simulates caches. Such a count does not depend on other programs.
  class Count
    # What callgrind does besides: it follows a command that executes the server, and counts nothing before it is told to. The
    # start of a server, and the opening of 1000 connections, would take longer than servers wait for answers to their pings.
    OPTIONS = %w[--trace-children=yes --instr-atstart=no].freeze
    # Seconds until it must listen.
    START_TIMEOUT = 120
    private_constant :OPTIONS, :START_TIMEOUT

    # @param servers [Array<Server>]
    # @param logs [String] the folder for the servers' output
    def initialize(servers, logs:)
      @servers = servers
      @logs = logs
      FileUtils.mkdir_p(logs)
    end

    # Counts one scenario. A server that cannot do it is left out.
    # @param scenario [Scenario] see {Scenario#counted}
    # @yieldparam what [String] what is done now, for the user
    # @return [Result] with one round
    def measure(scenario)
      result = Result.new(scenario, @servers.map(&:name))
      @servers.each do |server|
        yield "#{scenario.name}: #{server.name} under callgrind"
        result.add(server.name, count(scenario, server))
      rescue Unsupported => e
        result.leave_out(server.name, e.message, failed: false)
      rescue Error => e
        result.leave_out(server.name, e.message, failed: true)
      end
      result
    end

    private

    def count(scenario, server)
      log = File.join(@logs, "count-#{scenario.name}-#{server.name.gsub(/[^\w.-]/, "_")}.log")
      FileUtils.rm_f(log)
      Dir.mktmpdir("push_server-bench") do |folder|
        file = File.join(folder, "callgrind")
        how = { threads: scenario.threads, cpu: nil, log: log, options: scenario.options, encrypted: scenario.encrypted?,
                before: [*Callgrind.valgrind(file), *OPTIONS], start_timeout: START_TIMEOUT }
        load = ServerProcess.run(server, **how) { |process| put_load(scenario, process) }
        per_operation(load.fetch(:operations), "#{file}.1")
      end
    end

    # The load pauses before the operations that warm the server up, before those that are counted, and after them.
    def put_load(scenario, process)
      commands = %w[--instr=on --zero --dump]
      Generator.run(scenario.counting_arguments, process, cpu: nil) { control(commands.shift, process) }
    end

    def control(command, process)
      return if system("callgrind_control", command, process.pid.to_s, %i[out err] => [process.log, "a"])

      raise Error, "callgrind_control #{command} failed, see #{process.log}"
    end

    def per_operation(operations, file)
      figures, requests = Callgrind.dumped(File.foreach(file))
      rubys = requests.sum { |object, count| ruby?(object) ? count : 0 }
      figures.merge("Ruby's mallocs" => rubys).to_h do |name, count|
        [COUNTED.fetch(name), count / operations.to_f]
      end
    end

    # Ruby is a library or, if it is not built with one, a program.
    def ruby?(object) = File.basename(object).match?(/\A(lib)?ruby[\d.-]*(\.so|\z)/)
  end
end
