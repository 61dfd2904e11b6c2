# frozen_string_literal: true

require "optparse"
require_relative "campaign"
require_relative "count"
require_relative "error"
require_relative "generator"
require_relative "machine"
require_relative "report"
require_relative "scenarios"
require_relative "servers"
require_relative "table"

module Bench
  # The command line, bin/bench.
  class CommandLine
    ROOT = File.expand_path("..", __dir__)
    FAILURE = 1
    USAGE = 2
    INTERRUPTED = 130
    private_constant :ROOT, :FAILURE, :USAGE, :INTERRUPTED

    # @param argv [Array<String>]
    # @return [Integer] the exit status: 0; 1 if a server failed; 2 for a command line it does not understand; 130 when
    #   interrupted
    def self.start(argv) = new.start(argv)

    def initialize
      @against = []
      @puma = true
      @rounds = 5
      @seconds = 5
      @output = File.join(ROOT, "tmp/bench")
    end

    # See {CommandLine.start}.
    def start(argv)
      names = parser.parse(argv)
      return tell if @tell

      @argv = argv
      @count ? count(chosen(names)) : measure(chosen(names))
    rescue OptionParser::ParseError => e
      fail_with("#{e.message}: bin/bench --help lists all options", USAGE)
    rescue Misunderstood => e
      fail_with(e.message, USAGE)
    rescue Error, SystemCallError => e
      fail_with(e.message, FAILURE)
    rescue Interrupt
      fail_with("interrupted: all that was started is stopped", INTERRUPTED)
    end

    # The command line is wrong.
    class Misunderstood < Error; end
    private_constant :Misunderstood

    private

    def measure(scenarios)
      servers = find_servers
      Generator.build
      cpus = find_cpus
      conditions = { rounds: @rounds, seconds: @seconds, cpus: cpus }
      report = Report.new(@output, servers: servers, command_line: ["bin/bench", *@argv], **conditions)
      campaign = Campaign.new(servers, logs: logs, **conditions)
      failed = go_through(scenarios, campaign, report)
      puts("\nMedians of the rounds (#{@rounds}); ratios are found round by round. #{report.json}, #{report.chart}")
      failed ? FAILURE : 0
    end

    def count(scenarios)
      raise Error, "there is no valgrind, which counts" unless Callgrind.installed?

      servers = find_servers
      Generator.build
      conditions = { caches: Callgrind::CACHES }
      report = Report.new(@output, servers: servers, command_line: ["bin/bench", *@argv], **conditions)
      failed = go_through(scenarios, Count.new(servers, logs: logs), report)
      puts("\nCounted under callgrind, outside of the kernel. #{report.json}, #{report.chart}")
      failed ? FAILURE : 0
    end

    # @return [Boolean] whether a server has failed
    def go_through(scenarios, measurement, report)
      scenarios.map { |scenario| show(measurement.measure(scenario) { |what| progress(what) }, report) }.any?
    end

    def logs = File.join(@output, "logs")

    # @return [Boolean] whether a server has failed
    def show(result, report)
      progress(nil)
      puts("\n#{Table.new(result)}")
      report.add(result)
      result.failed?
    end

    # One line on a terminal, which the next one overwrites.
    def progress(what)
      $stderr.print("\r\e[K#{what}") if $stderr.tty?
    end

    def chosen(names)
      unknown = names - SCENARIOS.map(&:name)
      raise Misunderstood, "there is no scenario #{unknown.first}: bin/bench --list names all" if unknown.any?

      chosen = names.empty? ? SCENARIOS : SCENARIOS.select { |scenario| names.include?(scenario.name) }
      return chosen unless @count

      uncounted = chosen.reject(&:counted)
      raise Misunderstood, "#{uncounted.first.name} goes by the clock, and cannot be counted" if names.any? && uncounted.any?

      chosen.filter_map(&:counted)
    end

    def find_servers
      puma = Servers.puma if @puma
      warn("bench: there is no puma to compare with: gem install puma, or Debian's package puma") if @puma && !puma
      servers = [Servers.push_server(ROOT), puma, *@against.map(&:call)].compact
      twice = servers.map(&:name).tally.key(2)
      raise Misunderstood, "two servers are called #{twice}: give one another name" if twice

      servers
    end

    # One CPU for the server and one for the generator, so that neither slows the other down.
    # @return [Array<String>] empty if nothing is to be pinned
    def find_cpus
      return @cpus if @cpus == []

      allowed = Machine.cpus
      missing = (@cpus || []) - allowed
      raise Misunderstood, "there is no CPU #{missing.first} to use, only #{allowed.join(", ")}" if missing.any?
      return @cpus || allowed.first(2) if allowed.size > 1 && Machine.taskset?

      warn("bench: server and generator share all CPUs, since pinning them takes two CPUs and taskset")
      []
    end

    def tell
      puts(@tell)
      0
    end

    def fail_with(message, status)
      progress(nil)
      warn("bench: #{message}")
      status
    end

    def parser
      OptionParser.new("Usage: bin/bench [scenario ...] [options]", 24) do |parser|
        parser.separator("\nServers:")
        add_servers(parser)
        parser.separator("\nConditions:")
        add_conditions(parser)
        parser.separator("\nOther:")
        parser.on("--list", "Name all scenarios") { @tell = list }
        parser.on("-h", "--help", "Print this") { @tell = parser.help }
      end
    end

    def add_servers(parser)
      parser.on("--against SERVER", "Another server: 'name=command with %{port} or", "%{bind}', and perhaps %{app}, %{threads},",
                "%{cert} and %{key}; may be repeated") do |text|
        server = understand { Server.parse(text) }
        @against << -> { server }
      end
      parser.on("--checkout [NAME=]DIR", "push_server of another checkout; may be repeated") do |text|
        folder, name = text.split("=", 2).reverse
        folder = File.expand_path(folder)
        @against << -> { Servers.push_server(folder, name: name || File.basename(folder)) }
      end
      parser.on("--no-puma", "Leave Puma out") { @puma = false }
    end

    def add_conditions(parser)
      parser.on("--rounds N", Integer, "Rounds of each server in each scenario [#{@rounds}]") do |number|
        @rounds = positive(number)
      end
      parser.on("--seconds N", Float, "Length of a round [#{@seconds}]") { |number| @seconds = positive(number) }
      parser.on("--count", "Count instructions, cache misses and mallocs under", "callgrind instead, in one round") do
        @count = true
      end
      parser.on("--cpus SERVER,LOAD", "The CPUs for the server and for the generator, or",
                "none [the first two]") do |text|
        @cpus = cpus(text)
      end
      parser.on("--output DIR", "Where results.json, chart.svg and the servers' logs", "go [tmp/bench]") do |folder|
        @output = File.expand_path(folder)
      end
    end

    def list = SCENARIOS.map { |scenario| format("%-16s %s", scenario.name, scenario.title) }

    def cpus(text)
      return [] if text == "none"
      return text.split(",") if text.match?(/\A\d+,\d+\z/)

      raise OptionParser::InvalidArgument, "#{text} (two numbers, such as 0,1, or none)"
    end

    def positive(number)
      number.positive? ? number : raise(OptionParser::InvalidArgument, "#{number} (it must be more than 0)")
    end

    def understand
      yield
    rescue Error => e
      raise Misunderstood, e.message
    end
  end
end
