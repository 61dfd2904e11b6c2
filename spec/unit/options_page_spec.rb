# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../../rakelib/options_page"

RSpec.describe OptionsPage do
  it "is in docs/options.md as it is now (bin/run rake docs)" do
    expect(File.read(OptionsPage::PATH)).to eq(OptionsPage.markdown)
  end

  it "names every limit of the core" do
    names = PushServer.const_get(:NativeServer)::LIMITS.map { |row| row[:name].to_s.tr("_", "-") }
    expect(names.reject { |name| OptionsPage.markdown.include?("`--#{name} ") }).to be_empty
  end
end
