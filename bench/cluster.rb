# frozen_string_literal: true

# What several processes cost, beside one process:
#
#   bin/run ruby bench/cluster.rb                      # all, 5 rounds of each
#   bin/run ruby bench/cluster.rb burst --rounds 3     # one
#
#   burst     messages a second that one Ruby thread publishes for 10 s, with one reader at another worker
#   latency   from publish in one worker to a client's socket at another worker; in turn with a bare ping-pong between two
#             processes over a Unix socket
#   requests  CPU time of a request over keep-alive connections: at one process, and at two workers with as many connections each
#   fan_out   CPU time of 30 messages a second to 1000 clients: at one process, and at two workers
#   polls     answers to polls that wait 0 s, with 1000 sessions: at the session's worker, and at another one
#   balance   how 200 keep-alive connections are spread over two workers
#   memory    private memory of the hub
#
# The generator and the servers share all CPUs, so close all other programs.

require_relative "cluster/measurements"

rounds = ARGV.include?("--rounds") ? Integer(ARGV.slice!(ARGV.index("--rounds"), 2).last) : 5
names = ARGV.empty? ? Cluster::MEASUREMENTS.keys : ARGV
unknown = names - Cluster::MEASUREMENTS.keys
abort "bench/cluster.rb: there is no #{unknown.first}, only #{Cluster::MEASUREMENTS.keys.join(", ")}" if unknown.any?

names.each { |name| Cluster::MEASUREMENTS.fetch(name).call(rounds) }
