# frozen_string_literal: true

require "spec_helper"

RSpec.describe "The chat example in two browsers" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/chat")

  it "shows who comes, who goes, and what is said" do
    pages = Script.run("chat.js", app.url)
    expect(pages[:errors]).to be_empty
    expect(pages[:ann]).to eq(["joined: Ann joined", "joined: Bob joined", "said mine: Annhello <b>Bob</b>", "said: Bobgrüße 😀"])
    expect(pages[:bob])
      .to eq(["joined: Bob joined", "said: Annhello <b>Bob</b>", "said mine: Bobgrüße 😀", "left: Ann left"])
    expect(pages[:people]).to eq(["Ann, Bob", "Bob"])
  end
end
