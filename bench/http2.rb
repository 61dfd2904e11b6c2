# frozen_string_literal: true

# What HTTP/2 costs beside HTTP/1.1, in turns of a second or two: the rate of hello world, CPU time of messages that go to 1000
# event streams over 10 connections or over 1000, and the memory of an idle event stream.
#
#   bin/run ruby bench/http2.rb [hello] [fan_out] [idle] [TURNS]
#
# `hello` needs h2load (Debian's nghttp2-client). H2LOAD in the environment says where it is. `idle` also measures garbage that
# Ruby has not collected yet, as all figures of memory do. With these variables there is little of it:
#
#   RUBY_GC_MALLOC_LIMIT=400000 RUBY_GC_MALLOC_LIMIT_MAX=400000 RUBY_GC_HEAP_GROWTH_FACTOR=1.1

require "etc"
require "tempfile"
require_relative "generator"
require_relative "machine"
require_relative "server_process"
require_relative "servers"

# What is measured of one server: each method takes turns, and prints medians.
class Http2Bench
  H2LOAD = ENV.fetch("H2LOAD", "h2load")
  REQUESTS = "http --path /hello --connections 64 --warm-up 0.3 --seconds 2"
  STREAMS = "broadcast --path /publish --listen-path /subscribe --stream sse --warm-up 0.3 --seconds 1"
  TICKS = Etc.sysconf(Etc::SC_CLK_TCK).to_f
  private_constant :H2LOAD, :REQUESTS, :STREAMS, :TICKS

  def initialize(server, turns)
    @server = server
    @turns = turns
    @server_cpu, @load_cpu = Bench::Machine.cpus.first(2)
  end

  def hello
    compare("hello world", "HTTP/1.1, 64 connections" => -> { load(REQUESTS) },
                           "HTTP/2, 8 connections, 32 streams" => -> { h2load("-c", "8", "-m", "32") })
  end

  def fan_out
    [200, 1000].each do |size|
      compare("#{size} bytes to 1000 event streams",
              "1000 connections of HTTP/1.1" => -> { load("#{STREAMS} --size #{size} --connections 1000") },
              "10 connections of HTTP/2" => -> { load("#{STREAMS} --size #{size} --connections 10 --streams 100") })
    end
  end

  # The second figure without the first: what the streams take beside their connections.
  def idle
    connections = 50
    one, hundred = [1, 100].map do |streams|
      all = Array.new(@turns) do
        serve { load("idle --path /echo --connections #{connections} --streams #{streams} --warm-up 2 --seconds 1") }
      end
      streams * median(all.map { |figure| figure.fetch(:memory_per_connection_bytes) })
    end
    puts(format("idle: a connection with one event stream takes %d bytes, and each further one %d", one, (hundred - one) / 99))
  end

  private

  # Runs both in turns on the same server, and prints figures of each and the median of the ratios.
  def compare(title, loads)
    figures = serve { Array.new(@turns) { loads.values.map(&:call) } }
    puts(title)
    loads.keys.each_with_index do |name, index|
      cpu, rate = %i[server_cpu_us_per_operation rate].map { |key| median(figures.map { |turn| turn[index].fetch(key) }) }
      puts(format("  %-34s %7.2f µs of CPU time, %d a second", name, cpu, rate))
    end
    %i[server_cpu_us_per_operation rate].each do |key|
      puts(format("  %-34s %7.2f", "ratio of #{key}", median(figures.map { |one, other| other.fetch(key) / one.fetch(key) })))
    end
  end

  def serve
    log = Tempfile.new("push_server-bench").path
    how = { threads: 1, cpu: @server_cpu, log: log, options: %w[--publish-socket off --control-socket off] }
    Bench::ServerProcess.run(@server, **how) do |process|
      @process = process
      yield
    end
  end

  def load(arguments) = Bench::Generator.run(arguments.split, @process, cpu: @load_cpu)

  def h2load(*arguments)
    before = cpu_time
    command = [*Bench::Machine.pinned(@load_cpu), H2LOAD, "-D", "2", *arguments, "http://127.0.0.1:#{@process.port}/hello"]
    output = IO.popen(command, err: %i[child out], &:read)
    requests = Integer(output[/^requests: .* (\d+) succeeded, 0 failed/, 1] || raise(Bench::Error, "h2load failed: #{output}"))
    { rate: requests / 2.0, server_cpu_us_per_operation: (cpu_time - before) * 1e6 / requests }
  end

  # In seconds.
  def cpu_time = File.read("/proc/#{@process.pid}/stat").rpartition(") ").last.split[11, 2].sum(&:to_i) / TICKS

  def median(values) = values.sort[values.size / 2]
end

parts, numbers = ARGV.partition { |argument| %w[hello fan_out idle].include?(argument) }
Bench::Generator.build
bench = Http2Bench.new(Bench::Servers.push_server(File.expand_path("..", __dir__)), Integer(numbers.fetch(0, "8"), 10))
(parts.empty? ? %w[hello fan_out idle] : parts).each { |part| bench.public_send(part) }
