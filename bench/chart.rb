# frozen_string_literal: true

require "cgi"
require_relative "figure"

module Bench
  # Results as an SVG image. Each scenario has a block, each server a row in it, and each row two bars. The longest bar of a
  # column has the full width. The colours follow the reader's light or dark mode.
  class Chart
    WIDTH = 960
    MARGIN = 24
    # Widths of the column of names, of a bar with its value, and of the value.
    NAMES = 150
    BAR = 380
    VALUE = 90
    ROW = 20
    # The title of a block and the captions of its bars.
    HEAD = 46
    GAP = 18
    COLOURS = 6
    STYLE = <<~CSS
      :root { --paper: #fafafa; --ink: #1d1f24; --quiet: #6b707b; --line: #e3e5ea;
              --c0: #2563eb; --c1: #94a3b8; --c2: #d97706; --c3: #0d9488; --c4: #9333ea; --c5: #be123c }
      @media (prefers-color-scheme: dark) {
        :root { --paper: #15171c; --ink: #f2f3f5; --quiet: #9aa0ac; --line: #2b2f38;
                --c0: #60a5fa; --c1: #64748b; --c2: #f59e0b; --c3: #2dd4bf; --c4: #c084fc; --c5: #fb7185 }
      }
      .paper { fill: var(--paper) } .track { fill: var(--line) }
      text { font: 13px system-ui, sans-serif; fill: var(--ink) }
      .title { font-weight: 600 } .quiet { fill: var(--quiet); font-size: 12px }
    CSS
    private_constant :WIDTH, :MARGIN, :NAMES, :BAR, :VALUE, :ROW, :HEAD, :GAP, :COLOURS, :STYLE

    # @param results [Array<Result>]
    def initialize(results)
      @results = results
    end

    # @return [String] the SVG
    def to_s
      top = MARGIN
      blocks = @results.map do |result|
        drawn = block(result, top)
        top += HEAD + (result.servers.size * ROW) + GAP
        drawn
      end
      <<~SVG
        <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 #{WIDTH} #{top}" width="#{WIDTH}" height="#{top}">
        <style>#{STYLE}</style>
        <rect class="paper" width="100%" height="100%"/>
        #{blocks.flatten.join("\n")}
        </svg>
      SVG
    end

    private

    def block(result, top)
      scenario = result.scenario
      [text(MARGIN, top + 12, scenario.name, "title"),
       text(MARGIN + NAMES, top + 12, scenario.title, "quiet"),
       result.servers.each_with_index.map do |server, row|
         text(MARGIN, top + HEAD + (row * ROW) + 13, server)
       end,
       scenario.chart.each_with_index.map do |figure, column|
         column(result, figure, MARGIN + NAMES + (column * (BAR + 2)), top)
       end]
    end

    def column(result, figure, left, top)
      known = FIGURES.fetch(figure)
      values = result.servers.map { |server| result.median(server, figure) }
      longest = values.compact.max
      [text(left, top + HEAD - 8, "#{known.label} (#{known.better} is better)", "quiet"),
       values.each_with_index.map { |value, row| bar(value, longest, left, top + HEAD + (row * ROW), row) }]
    end

    def bar(value, longest, left, top, row)
      room = BAR - VALUE
      length = value && longest.positive? ? (room * value / longest).round(1) : 0
      [%(<rect class="track" x="#{left}" y="#{top + 3}" width="#{room}" height="#{ROW - 6}" rx="2"/>),
       %(<rect style="fill: var(--c#{row % COLOURS})" x="#{left}" y="#{top + 3}" width="#{length}") +
         %( height="#{ROW - 6}" rx="2"/>),
       text(left + room + 8, top + 14, Figure.show(value))]
    end

    def text(left, base, content, kind = nil)
      %(<text x="#{left}" y="#{base}"#{%( class="#{kind}") if kind}>#{CGI.escapeHTML(content)}</text>)
    end
  end
end
