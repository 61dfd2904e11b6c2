# frozen_string_literal: true

module PushServer
  # What a server has counted, as lines for people.
  # @api private
  class StatisticsReport
    # The part of all durations that {#lines} gives a bound for.
    MOST = 0.99
    private_constant :MOST

    # @param totals [Hash{Symbol => Object}] as {PushServer.stats} returns it with `:all`, with keys of any kind below
    def initialize(totals)
      @totals = totals
    end

    # @return [Array<String>] a line for each number, with a column for all workers together and one for each of them; then a line
    #   for each histogram
    def lines = [*header, *numbers, "", *@totals[:histograms].map { |name, durations| duration(name, durations) }]

    private

    def columns = [@totals[:stats], *@totals[:workers].map { |worker| worker[:stats] }]

    # One process needs no header.
    def header
      workers = @totals[:workers]
      return [] if workers.empty?

      [row("", ["all", *workers.map { |worker| "worker #{worker[:number]}" }]),
       row("", ["", *workers.map { |worker| "pid #{worker[:pid]}" }])]
    end

    def numbers = @totals[:stats].keys.map { |name| row(name, columns.map { |counts| counts[name] }) }

    def row(name, cells) = [name.to_s.ljust(name_width), *cells.map { |cell| cell.to_s.rjust(cell_width) }].join("  ").rstrip

    def name_width = @name_width ||= names.map(&:size).max.to_i

    def names = [*@totals[:stats].keys, *@totals[:histograms].keys]

    def cell_width
      @cell_width ||= begin
        cells = columns.flat_map(&:values)
        titles = @totals[:workers].flat_map { |worker| ["worker #{worker[:number]}", "pid #{worker[:pid]}"] }
        [*cells, *titles].map { |cell| cell.to_s.size }.max.to_i
      end
    end

    def duration(name, durations)
      count, sum, buckets = durations.values_at(:count, :sum, :buckets)
      title = name.to_s.ljust(name_width)
      return "#{title}  none" if count.zero?

      bound, = buckets.find { |_, within| within >= count * MOST }
      most = bound ? "#{milliseconds(bound.to_s.to_i)} ms" : "more than #{milliseconds(buckets.keys.last.to_s.to_i)} ms"
      "#{title}  #{count} times, #{milliseconds(sum / count)} ms on average, #{(MOST * 100).round} % within #{most}"
    end

    # @param microseconds [Integer]
    def milliseconds(microseconds) = format("%.1f", microseconds / 1000.0).delete_suffix(".0")
  end
end
