# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The server of all examples in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples")

  shared_examples "pages that work" do |protocol|
    it "has a page that leads to all of them, which work" do
      page = Script.run("examples.js", app.url)
      expect(page[:errors]).to be_empty
      expect(page[:protocol]).to eq(protocol)
      expect(page[:titles]).to eq(assistant: "Assistant", chat: "Chat", dashboard: "Dashboard", ticker: "Ticker", job_progress: "Job progress",
                                  notifications: "Notifications", clock: "Clock · WebSocket", echo: "Echo")
    end
  end

  it_behaves_like "pages that work", "http/1.1"

  context "with TLS", transport: :tls do
    serve "config.ru", dir: File.join(AppProcess::ROOT, "examples")

    it_behaves_like "pages that work", "h2"
  end

  it "adds the slash to the path of an example" do
    expect(get("/chat")).to have_attributes(status: 301, headers: include("location" => ["/chat/"]))
    expect(get("/nothing").status).to eq(404)
  end
end
