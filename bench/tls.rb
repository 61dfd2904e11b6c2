# frozen_string_literal: true

# What TLS costs a request: hello world on 64 keep-alive connections, with TLS and without, in turns of a second.
#
#   bin/run ruby bench/tls.rb [TURNS]

require "tempfile"
require_relative "generator"
require_relative "machine"
require_relative "server_process"
require_relative "servers"

LOAD = %w[http --path /hello --connections 64 --warm-up 0.3 --seconds 1].freeze

def median(values) = values.sort[values.size / 2]

turns = Integer(ARGV.fetch(0, "12"), 10)
Bench::Generator.build
server = Bench::Servers.push_server(File.expand_path("..", __dir__))
server_cpu, load_cpu = Bench::Machine.cpus.first(2)
log = Tempfile.new("push_server-bench").path
how = { threads: 1, cpu: server_cpu, log: log, options: %w[--publish-socket off --control-socket off] }

figures = Bench::ServerProcess.run(server, **how) do |plain|
  Bench::ServerProcess.run(server, **how, encrypted: true) do |encrypted|
    Array.new(turns) do
      [[plain, "http"], [encrypted, "https"]].map do |process, scheme|
        Bench::Generator.run([*LOAD, "--scheme", scheme], process, cpu: load_cpu)
      end
    end
  end
end

cpu = figures.map { |turn| turn.map { |figure| figure.fetch(:server_cpu_us_per_operation) } }
rate = figures.map { |turn| turn.map { |figure| figure.fetch(:rate) } }
%w[plain TLS].each_with_index do |name, index|
  medians = [cpu, rate].map { |all| median(all.map { |turn| turn[index] }) }
  puts(format("%-5s  %.1f µs of CPU time, %d requests/s (medians)", name, *medians))
end
puts(format("TLS costs %.2f times the CPU time (median of the turns)", median(cpu.map { |plain, encrypted| encrypted / plain })))
