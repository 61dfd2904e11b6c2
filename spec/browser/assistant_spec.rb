# frozen_string_literal: true

require "spec_helper"
require_relative "../../examples/assistant/markov"

RSpec.describe "The assistant example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/assistant")

  def answer(question)
    Markov.new(File.read(File.join(AppProcess::ROOT, "examples/assistant/harbour.txt"))).answer(question).to_a.join(" ")
  end

  it "streams an answer, continues it when the page is reloaded, and shows it in a second tab" do
    page = Script.run("assistant.js", app.url)
    keeper, cats = answer("Who is the keeper?"), answer("And the cats?")
    expect(page[:errors]).to be_empty
    expect(page[:posts]).to eq([[200, "text/event-stream; charset=utf-8"]] * 2)
    # The part of the answer before the page was reloaded, and when the second tab was opened.
    [page[:before], page[:midst]].each do |shown|
      expect(keeper).to start_with(shown.first)
      expect(shown.first.size).to be < keeper.size
    end
    expect(page[:reloaded]).to include(event: "asked")
    expect(page[:once]).to eq([[keeper]] * 2)
    expect(page[:twice]).to eq([[keeper, cats]] * 2)
    expect(page[:asked]).to eq(["Who is the keeper?", "And the cats?"])
  end
end
