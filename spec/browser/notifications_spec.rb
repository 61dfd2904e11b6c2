# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The notifications example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/notifications")

  it "shows each notification once when the transport changes" do
    page = Script.run("notifications.js", app.url)
    expect(page[:errors]).to be_empty
    expect(page[:statuses]).to eq(["connected · websocket", "connected · sse", "connected · poll", "connected · websocket", "offline"])
    expect(page[:inbox])
      .to eq(["#1 websocket", "#2 sse", "#3 poll", "#4 websocket"] + Array.new(10) { |index| "##{index + 5} poll" })
    expect(page[:texts].last(10)).to match(Array.new(10) { |index| end_with("(#{index + 1} of 10)") })
  end
end
