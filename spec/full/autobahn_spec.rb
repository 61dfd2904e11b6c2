# frozen_string_literal: true

require "spec_helper"

# All cases of the Autobahn test suite must pass strictly.
RSpec.describe "The Autobahn test suite", :full do
  before(:context) { skip Autobahn.missing if Autobahn.missing }

  # Section 9 has messages of 16 MiB. Without compression, sections 12 and 13 would say that it is not implemented.
  serve File.read(File.join(AppProcess::ROOT, "examples/echo/config.ru")), "--max-message-size", "16MiB",
        "--websocket-compression"

  # The number of cases of each section.
  { 1 => ["framing", 16], 2 => ["pings and pongs", 11], 3 => ["reserved bits", 7], 4 => ["opcodes", 10],
    5 => ["fragmentation", 20], 6 => ["UTF-8", 145], 7 => ["close handling", 37], 9 => ["limits and speed", 54],
    10 => ["miscellaneous", 1], 12 => ["compression", 90], 13 => ["compression, with parameters", 126] }.each do |section, (title, count)|
    it "passes section #{section}: #{title}" do
      verdicts = Autobahn.run("ws://127.0.0.1:#{app.port}/", "#{section}.*", seconds: 1800)
      expect(verdicts.reject(&:strict?).map(&:to_s)).to eq([])
      expect(verdicts.size).to eq(count)
    end
  end
end
