# frozen_string_literal: true

module Bench
  # A figure that the load generator measures, and how it is shown.
  # @!attribute label [String] with its unit
  # @!attribute better [:more, :less, nil] nil where servers are not to be compared by it
  Figure = Struct.new(:label, :better) do
    # @param value [Numeric, nil]
    # @return [String] three digits or more, or "-" for nothing
    def self.show(value)
      return "-" if value.nil?

      digits = [2 - Math.log10([value.abs, 0.01].max).floor, 0].max
      whole, fraction = format("%.#{[digits, 3].min}f", value).split(".")
      [whole.gsub(/(?<=\d)(?=(\d{3})+\z)/, ","), fraction].compact.join(".")
    end
  end

  # By the name that the generator gives it.
  FIGURES = {
    rate: Figure.new("operations per second", :more),
    p50_us: Figure.new("p50, µs", :less),
    p99_us: Figure.new("p99, µs", :less),
    max_us: Figure.new("max, µs", :less),
    server_cpu_us_per_operation: Figure.new("server's CPU per operation, µs", :less),
    server_cpu_percent: Figure.new("server's CPU, %", :less),
    server_cpu_percent_per_10000: Figure.new("server's CPU per 10,000 connections, %", :less),
    memory_per_connection_bytes: Figure.new("memory per connection, bytes", :less),
    bytes_per_operation: Figure.new("bytes per operation on the wire", :less),
    skipped: Figure.new("messages skipped", nil),
    server_memory_bytes: Figure.new("server's memory at the end, bytes", :less),
    load_cpu_percent: Figure.new("generator's CPU, %", nil),
    instructions: Figure.new("instructions per operation", :less),
    l1i_misses: Figure.new("L1i misses per operation", :less),
    l1d_misses: Figure.new("L1d misses per operation", :less),
    ll_misses: Figure.new("lines from beyond L2 per operation", :less),
    mallocs: Figure.new("mallocs per operation", :less),
    mallocs_of_ruby: Figure.new("of these, Ruby's own", nil)
  }.freeze

  # The figures that are counted under callgrind, by the name that {Callgrind} gives them.
  COUNTED = { "instructions" => :instructions, "L1i misses" => :l1i_misses, "L1d misses" => :l1d_misses,
              "LL misses" => :ll_misses, "mallocs" => :mallocs, "Ruby's mallocs" => :mallocs_of_ruby }.freeze
end
