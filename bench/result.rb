# frozen_string_literal: true

require_relative "figure"

module Bench
  # The figures of a scenario: rounds of several servers. The others are compared with the first one.
  class Result
    # @return [Scenario]
    attr_reader :scenario
    # @return [Array<String>] names of all servers, in order
    attr_reader :servers
    # @return [Hash{String => Array<Hash>}] by server: the figures of its rounds
    attr_reader :rounds
    # @return [Hash{String => String}] by server: why it was left out
    attr_reader :absences

    def initialize(scenario, servers)
      @scenario = scenario
      @servers = servers
      @rounds = servers.to_h { |name| [name, []] }
      @absences = {}
      @failures = []
    end

    # Notes a round.
    def add(server, figures) = rounds.fetch(server) << figures

    # Notes that a server is left out from now on.
    # @param failed [Boolean] true if that is an error, false if the server cannot do the scenario
    def leave_out(server, why, failed:)
      absences[server] = why
      @failures << server if failed
    end

    # @return [Boolean] whether a server that can do it has failed
    def failed? = @failures.any?

    # @return [Float, nil] the middle one of a server's rounds
    def median(server, figure) = middle(values(server, figure))

    # How the first server compares with another: the median of the ratios of each round, since a disturbance of one round
    # also affects the next one.
    # @return [Float, nil] nil where there is nothing to compare
    def ratio(server, figure)
      return unless FIGURES.fetch(figure).better

      pairs = values(servers.first, figure).zip(values(server, figure))
      middle(pairs.filter_map { |one, other| one.fdiv(other) if one && other&.nonzero? })
    end

    # @return [Hash] for JSON
    def to_h
      { name: scenario.name, title: scenario.title, threads: scenario.threads, rounds: rounds, absences: absences,
        medians: servers.to_h { |server| [server, figures { |figure| median(server, figure) }] },
        ratios: servers.drop(1).to_h { |server| [server, figures { |figure| ratio(server, figure) }] } }
    end

    private

    def values(server, figure) = rounds.fetch(server).map { |round| round[figure] }

    def figures(&) = scenario.figures.to_h { |figure| [figure, yield(figure)] }

    def middle(values)
      sorted = values.compact.sort
      return if sorted.empty?

      (sorted[(sorted.size - 1) / 2] + sorted[sorted.size / 2]) / 2.0
    end
  end
end
