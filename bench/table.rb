# frozen_string_literal: true

require_relative "figure"

module Bench
  # A result as text: medians, and ratios.
  class Table
    LABEL = FIGURES.each_value.map { |figure| figure.label.size }.max
    private_constant :LABEL

    # @param result [Result]
    def initialize(result)
      @result = result
    end

    # @return [String]
    def to_s
      scenario = @result.scenario
      rows = [head, *scenario.figures.map { |figure| row(figure) }]
      widths = rows.transpose.map { |column| column.map(&:size).max }
      lines = rows.map { |label, *cells| line(label, cells.zip(widths.drop(1))) }
      ["#{scenario.name}: #{scenario.title}", *lines, *absences].join("\n")
    end

    private

    def line(label, cells)
      ["", label.ljust(LABEL), *cells.map { |cell, width| cell.rjust(width) }].join("  ").rstrip
    end

    def others = @result.servers.drop(1)

    def head
      ratios = others.map { |server| "#{@result.servers.first}/#{server}" }
      ["", *@result.servers, *ratios]
    end

    def row(figure)
      medians = @result.servers.map { |server| @result.median(server, figure) }
      ratios = others.map { |server| @result.ratio(server, figure) }
      [FIGURES.fetch(figure).label, *[*medians, *ratios].map { |value| Figure.show(value) }]
    end

    def absences = @result.absences.map { |server, why| "  #{server}: #{why.gsub("\n", "\n    ")}" }
  end
end
