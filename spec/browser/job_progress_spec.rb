# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The job progress example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/job_progress")

  it "fills its bars, also after the page is reloaded" do
    page = Script.run("job_progress.js", app.url)
    expect(page[:errors]).to be_empty
    expect(page[:before]).to all(be > 5)
    expect(page).to include(ended: ["film.webm is ready100 %"] * 2, bars: [100, 100])
  end
end
