# frozen_string_literal: true

require "spec_helper"
require_relative "../../examples/assistant/markov"

RSpec.describe "The assistant example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  serve "config.ru", dir: File.join(AppProcess::ROOT, "examples/assistant")

  def answer(question)
    Markov.new(File.read(File.join(AppProcess::ROOT, "examples/assistant/harbour.txt"))).answer(question).to_a.join(" ")
  end

  it "streams an answer, goes on with it when the page is loaded again, and lets a second tab follow" do
    page = Script.run("assistant.js", app.url)
    keeper, cats = answer("Who is the keeper?"), answer("And the cats?")
    expect(page[:errors]).to be_empty
    expect(page[:posts]).to eq([[200, "text/event-stream; charset=utf-8"]] * 2)
    # Part of the answer, before the page was loaded again and when the second tab had come.
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
