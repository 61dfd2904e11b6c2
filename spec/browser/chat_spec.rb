# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The chat example in two browsers" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/chat")

  it "shows the members, new messages, and those from before and during a lost connection" do
    pages = Script.run("chat.js", app.url)
    expect(pages[:errors]).to be_empty
    expect(pages[:ann])
      .to eq(["note: Bob joined", "said mine: Annhello <b>Bob</b>", "said: Bobgrüße 😀", "said: Bobare you there?"])
    expect(pages[:bob])
      .to eq(["said: Annhello <b>Bob</b>", "said mine: Bobgrüße 😀", "said mine: Bobare you there?", "note: Ann left"])
    expect(pages[:history]).to eq(["said mine: Annhello <b>Bob</b>", "said: Bobgrüße 😀"])
  end
end
