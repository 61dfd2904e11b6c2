# frozen_string_literal: true

require "push_server"

# The table of metrics in docs/metrics.md, made from src/metrics/families.rs and the table of counters.
module MetricsTable
  PATH = File.expand_path("../docs/metrics.md", __dir__)
  PLACE = /(?<=<!-- metrics -->\n).*(?=<!-- \/metrics -->)/m

  module_function

  # The page with the table as it is now.
  def markdown = File.read(PATH).sub(PLACE) { table }

  def table
    rows = PushServer.const_get(:NativeServer)::METRICS.map do |metric|
      labels = metric[:labels].map { |label| "`#{label}`" }.join(", ")
      "| `#{metric[:name]}` | #{metric[:type]} | #{labels} | #{metric[:help].gsub("|", "\\|")} |\n"
    end
    "| name | type | labels | |\n|---|---|---|---|\n#{rows.join}"
  end
end
