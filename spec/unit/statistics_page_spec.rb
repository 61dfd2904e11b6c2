# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../../rakelib/statistics_page"

RSpec.describe StatisticsPage do
  it "is in docs/statistics.md as it is now (bin/run rake docs)" do
    expect(File.read(described_class::PATH)).to eq(described_class.markdown)
  end
end
