# frozen_string_literal: true

require "spec_helper"

RSpec.describe "All examples in one server, in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples")

  it "are found under one page, and live" do
    page = Script.run("examples.js", app.url)
    expect(page[:errors]).to be_empty
    expect(page[:titles]).to eq(assistant: "Assistant", chat: "Chat", dashboard: "Dashboard", ticker: "Ticker", job_progress: "Job progress",
                                notifications: "Notifications", clock: "Clock · WebSocket", echo: "Echo")
  end

  it "leads into the folder of an example" do
    expect(get("/chat")).to have_attributes(status: 301, headers: include("location" => ["/chat/"]))
    expect(get("/nothing").status).to eq(404)
  end
end
