# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The dashboard example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/dashboard")

  it "draws all values since the page was rendered" do
    pages = Script.run("dashboard.js", app.url)
    expect(pages[:errors]).to be_empty
    expect(pages[:prompt]).to include(missing: 0, twice: 0, drawn: true)
    # Four values a second for two seconds. A busy machine may measure a few less.
    expect(pages[:late]).to include(missing: 0, twice: 0, drawn: true, replayed: be_between(3, 40))
  end
end
