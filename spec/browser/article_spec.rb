# frozen_string_literal: true

require "spec_helper"

# The article this server was made from: its config.ru, push.rb and two pages, with only the name of the server replaced.
RSpec.describe "The article's own example in a browser" do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  article = File.join(AppProcess::ROOT, "spec/fixtures/article")

  def expect_ticking
    pages = Script.run("clock.js", "http://localhost:#{app.port}")
    expect(pages.values).to all(include(errors: [], status: "connected"))
    expect(pages.values.map { |page| page[:messages].grep(/\A\d\d:\d\d:\d\d\z/).uniq.size }).to all(eq(3))
    app.wait_for_line(/--- on_open/)
    app.wait_for_line(/--- on_drained/)
    app.wait_for_line(/--- on_close/)
  end

  context "with rackup" do
    serve "config.ru", dir: article, via: :rackup, env: { "RACK_ENV" => "development" }

    it("ticks") { expect_ticking }
  end

  context "with the command" do
    serve "config.ru", dir: article

    it("ticks") { expect_ticking }
  end

  context "with push.rb, which has a port of its own" do
    serve "push.rb", dir: article, via: :ruby

    it("ticks") { expect_ticking }

    it "serves what it handles and nothing else" do
      expect(get("/hello").body).to eq("hello world")
      expect(get("/listen").status).to eq(404)
      expect(get("/nothing").status).to eq(404)
    end
  end
end
