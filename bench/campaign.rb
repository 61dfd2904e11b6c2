# frozen_string_literal: true

require "fileutils"
require_relative "error"
require_relative "generator"
require_relative "result"
require_relative "server_process"

module Bench
  # Measures servers in turn: one round of each, and then the next round. So a change on the machine affects all of them.
  # Every round starts a new server.
  class Campaign
    # Seconds in which the process of a server that has crashed ends.
    CRASH_TIMEOUT = 0.5
    private_constant :CRASH_TIMEOUT

    # @param servers [Array<Server>]
    # @param rounds [Integer]
    # @param seconds [Numeric] the measured time of a round
    # @param cpus [Array<String>] one for the server, one for the generator; or none
    # @param logs [String] the folder for the servers' output
    def initialize(servers, rounds:, seconds:, cpus:, logs:)
      @servers = servers
      @rounds = rounds
      @seconds = seconds
      @server_cpu, @load_cpu = cpus
      @logs = logs
      FileUtils.mkdir_p(logs)
    end

    # Measures one scenario. A server that cannot do it says so in its first round, and is left out of the others.
    # @yieldparam what [String] what is done now, for the user
    # @return [Result]
    def measure(scenario)
      result = Result.new(scenario, @servers.map(&:name))
      @servers.each { |server| FileUtils.rm_f(log(scenario, server)) }
      1.upto(@rounds) do |number|
        @servers.each do |server|
          next if result.absences.key?(server.name)

          yield "#{scenario.name}, round #{number} of #{@rounds}: #{server.name}"
          measure_round(result, server)
        end
      end
      result
    end

    private

    def measure_round(result, server)
      scenario = result.scenario
      options = { threads: scenario.threads, cpu: @server_cpu, log: log(scenario, server), options: scenario.options,
                  encrypted: scenario.encrypted? }
      ServerProcess.run(server, **options) { |process| result.add(server.name, figures(scenario, process)) }
    rescue Unsupported => e
      result.leave_out(server.name, e.message, failed: false)
    rescue Error => e
      result.leave_out(server.name, e.message, failed: true)
    end

    def figures(scenario, process)
      Generator.run(scenario.arguments(@seconds), process, cpu: @load_cpu)
    rescue Error => e
      raise unless process.ended_within?(CRASH_TIMEOUT)

      raise Error, "the server has ended, see #{process.log} (#{e.message})"
    end

    def log(scenario, server) = File.join(@logs, "#{scenario.name}-#{server.name.gsub(/[^\w.-]/, "_")}.log")
  end
end
