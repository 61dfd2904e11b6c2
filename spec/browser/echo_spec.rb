# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The echo example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/echo")

  it "shows what it sends and receives" do
    expect(Script.run("echo.js", app.url)[:log])
      .to eq(["sent: hello", "received: hello", "sent: grüße 😀", "received: grüße 😀"])
  end
end
