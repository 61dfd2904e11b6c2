# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The ticker example in two browsers" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/ticker")

  it "skips to the newest prices for a slow reader, and shows all prices to another" do
    pages = Script.run("ticker.js", app.url)
    expect(pages[:errors]).to be_empty
    expect(pages).to include(skipped: be_positive, status: "connected", quick: { skipped: 0, shares: 6 })
  end
end
