# frozen_string_literal: true

require "etc"
require_relative "error"

module Bench
  # The machine that measures.
  module Machine
    module_function

    # @return [Hash] what a reader of the figures should know about it
    def facts
      { cpu: File.read("/proc/cpuinfo")[/^model name\s*: (.*)/, 1], cpus: Etc.nprocessors,
        kernel: Etc.uname[:release], ruby: RUBY_DESCRIPTION }
    end

    # @return [Array<String>] the numbers of the CPUs that this process may use
    def cpus
      File.read("/proc/self/status")[/^Cpus_allowed_list:\s*(.*)/, 1].split(",").flat_map do |range|
        first, last = range.split("-").map(&:to_i)
        (first..(last || first)).map(&:to_s)
      end
    end

    # @param cpu [String, nil] nil for any
    # @return [Array<String>] the words that go before a command line to pin it
    def pinned(cpu) = cpu ? ["taskset", "-c", cpu] : []

    # @return [Boolean]
    def taskset? = system("taskset", "--version", out: File::NULL, err: File::NULL) == true

    # Options of spawn that allow as many sockets as this process may allow.
    # @return [Hash]
    def many_sockets = { rlimit_nofile: Process.getrlimit(:NOFILE).last }
  end
end
