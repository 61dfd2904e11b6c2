# frozen_string_literal: true

require_relative "unit_helper"
require "json"
require_relative "../../rakelib/metrics_table"

# docs/metrics.md, and the dashboard beside it.
RSpec.describe MetricsTable do
  # The names of all samples.
  names = PushServer.const_get(:NativeServer)::METRICS.flat_map do |metric|
    metric[:type] == "histogram" ? %w[_bucket _count _sum].map { |ending| metric[:name] + ending } : [metric[:name]]
  end

  define_method(:unknown) { |text| text.scan(/\bpush_server_\w+/).uniq - names }

  it "is in docs/metrics.md as it is now (bin/run rake docs)" do
    expect(File.read(described_class::PATH)).to eq(described_class.markdown)
  end

  it "has each metric that the rest of the page names" do
    expect(unknown(File.read(described_class::PATH).sub(described_class::PLACE, ""))).to eq([])
  end

  describe "the dashboard" do
    dashboard = JSON.parse(File.read(File.expand_path("../../docs/grafana/push_server.json", __dir__)))
    panels = dashboard["panels"].reject { |panel| panel["type"] == "row" }

    it "names only metrics that exist" do
      queries = panels.flat_map { |panel| panel["targets"].map { |target| target["expr"] } }

      expect(queries.join(" ").scan("push_server_").size).to be >= panels.size
      expect(unknown(queries.join(" "))).to eq([])
      expect(unknown(dashboard["templating"].to_json)).to eq([])
    end

    it "has panels that do not overlap, each with an id of its own" do
      fields = panels.flat_map do |panel|
        x, y, width, height = panel["gridPos"].values_at("x", "y", "w", "h")
        (x...(x + width)).to_a.product((y...(y + height)).to_a)
      end

      expect(fields.uniq.size).to eq(fields.size)
      expect(fields.map(&:first).max).to be < 24
      expect(dashboard["panels"].map { |panel| panel["id"] }.uniq.size).to eq(dashboard["panels"].size)
    end
  end
end
