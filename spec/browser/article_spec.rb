# frozen_string_literal: true

require "spec_helper"

# The article that this server follows: its config.ru, push.rb and two pages. Only the name of the server is replaced.
RSpec.describe "The article's example in a browser" do
  before { skip Script.missing(:chromium) if Script.missing(:chromium) }

  article = File.join(AppProcess::ROOT, "spec/fixtures/article")

  def expect_ticking
    pages = Script.run("clock.js", "http://localhost:#{app.port}")
    expect(pages.values).to all(include(errors: [], status: "connected"))
    expect(pages.values.map { |page| page[:messages].grep(/\A\d\d:\d\d:\d\d\z/).uniq.size }).to all(eq(3))
  end

  # Ruby buffers what the callbacks print until the process ends.
  def expect_goodbye
    expect(app.stop).to be_success
    expect(app.lines.grep(/\A--- /).map(&:chomp).tally)
      .to match("--- on_open" => 2, "--- on_drained" => (be >= 6), "--- on_close" => 2)
  end

  it "ticks with rackup" do
    start_app("config.ru", dir: article, via: :rackup, env: { "RACK_ENV" => "development" })
    expect_ticking
    expect_goodbye
  end

  it "ticks with the command" do
    start_app("config.ru", dir: article)
    expect_ticking
    expect_goodbye
  end

  # It uses port 6464, which may be in use here. A copy uses a free one.
  it "ticks with push.rb, whose main thread runs the clock" do
    named = "PushServer::Server.init(6464, '.', thread_count: 1)"
    source = File.read(File.join(article, "push.rb"))
    expect(source.scan(/^#{Regexp.escape(named)}$/).size).to eq(1)
    pages = %w[websocket.html sse.html].to_h { |name| [name, File.read(File.join(article, name))] }
    start_app(source.sub(/^#{Regexp.escape(named)}$/, named.sub("6464", "0")), via: :ruby, files: pages)
    expect_ticking
    hello, listen, nothing = %w[/hello /listen /nothing].map { |path| HttpClient.new(app.address).get(path) }
    expect(hello.body).to eq("hello world")
    expect([listen.status, nothing.status]).to eq([404, 404])
    expect_goodbye
  end
end
