# frozen_string_literal: true

require "shellwords"
require_relative "figure"

module Bench
  # One thing that is measured: a load that the generator puts on a server.
  class Scenario
    # The figures of a load that runs as fast as it can.
    AT_FULL_SPEED = %i[rate p50_us p99_us max_us server_cpu_us_per_operation load_cpu_percent].freeze

    # Loads that send the next message when the last one was answered, and how many operations are counted: garbage is
    # collected many times meanwhile.
    COUNTABLE = { "http" => 20_000, "echo" => 20_000, "broadcast" => 200_000 }.freeze
    private_constant :COUNTABLE

    # @return [String]
    attr_reader :name, :title
    # @return [Integer] Ruby threads of the server
    attr_reader :threads
    # @return [Array<String>] options of push_server, which other servers do not get
    attr_reader :options
    # @return [Array<Symbol>] keys of FIGURES: the rows of the table
    attr_reader :figures
    # @return [Array<Symbol>] two of them: the bars of the chart
    attr_reader :chart

    # @param name [String] as on the command line
    # @param title [String] what it is, in a line
    # @param load [String] the generator's arguments; bench/load's --help lists them
    # @param options [String] options of push_server
    # @param encrypted [Boolean] whether servers listen with TLS
    # @param seconds [Numeric, nil] the length of a round, if the scenario needs a certain one
    def initialize(name, title, load:, threads: 1, options: "", encrypted: false, seconds: nil,
                   figures: AT_FULL_SPEED, chart: %i[rate server_cpu_us_per_operation])
      @name = name
      @title = title
      @load = load.shellsplit
      @threads = threads
      @options = options.shellsplit
      @encrypted = encrypted
      @seconds = seconds
      @figures = figures
      @chart = chart
    end

    # @return [Boolean]
    def encrypted? = @encrypted

    # @return [Scenario, nil] the same with the figures that are counted under callgrind; nil if its load cannot be counted,
    #   because it goes by the clock
    def counted
      return unless COUNTABLE.key?(@load.first)

      self.class.new(name, title, load: @load.shelljoin, threads: threads, options: options.shelljoin, encrypted: encrypted?,
                                  figures: COUNTED.values, chart: %i[instructions l1i_misses])
    end

    # @param seconds [Numeric] the length of a round, unless the scenario needs a certain one
    # @return [Array<String>] the generator's arguments, without those that name the server
    def arguments(seconds) = [*load, "--seconds", (@seconds || seconds).to_s]

    # @return [Array<String>] the same for a number of operations that does not depend on anything
    def counting_arguments = [*load, "--operations", COUNTABLE.fetch(@load.first).to_s]

    private

    def load = [*@load, *(%w[--scheme https] if encrypted?)]
  end
end
