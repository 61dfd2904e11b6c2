# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/documentation"
(Dir[File.join(Documentation::LIB, "push_server/**/*.rb")] - Documentation::NATIVE).each { |file| require file }

RSpec.describe Documentation do
  subject(:documentation) { described_class.new }

  it "has a comment for each public method and constant in lib/" do
    expect(documentation.undocumented).to eq([])
  end

  it "has a text for each public method and constant that is native, and for no others" do
    expect(documentation.native_texts.keys).to match_array(documentation.native)
    expect(documentation.native_texts.select { |_, text| text.empty? }).to eq({})
  end

  it "loads no file of the native classes' documentation" do
    expect($LOADED_FEATURES & described_class::NATIVE).to eq([])
  end
end
