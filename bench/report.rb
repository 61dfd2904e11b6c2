# frozen_string_literal: true

require "fileutils"
require "json"
require "time"
require_relative "chart"
require_relative "machine"

module Bench
  # The files that a campaign writes: all rounds as JSON, and a chart. They are written again after each scenario, so that
  # they exist even if the campaign is interrupted.
  class Report
    # @param folder [String]
    # @param servers [Array<Server>]
    # @param conditions [Hash] how it was measured, for the JSON
    def initialize(folder, servers:, **conditions)
      @folder = folder
      known = servers.map { |server| { name: server.name, version: server.version, command: server.command } }
      @head = { date: Time.now.iso8601, machine: Machine.facts, **conditions, servers: known }
      @results = []
      FileUtils.mkdir_p(folder)
    end

    # @param result [Result]
    def add(result)
      @results << result
      File.write(json, JSON.pretty_generate(**@head, scenarios: @results.map(&:to_h)))
      File.write(chart, Chart.new(@results).to_s)
    end

    # @return [String]
    def json = File.join(@folder, "results.json")

    # @return [String]
    def chart = File.join(@folder, "chart.svg")
  end
end
