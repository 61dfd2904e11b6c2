# frozen_string_literal: true

require_relative "rails_blog"
require "push_server/version"

# The app of docs/rails.md, started as the page says.
RSpec.describe "The app of docs/rails.md", :full do
  environment = RailsBlog.environment_of("development")
  threads = 2

  RailsBlog.serve(self, RailsBlog::RAILS, *RailsBlog::SERVER, via: :ruby, files: RailsBlog.files,
                  env: environment.merge("RAILS_MAX_THREADS" => threads.to_s))

  def host = "127.0.0.1:#{app.port}"
  def login(name) = RailsBlog.login(name, app.address)

  # An event stream that has subscribed.
  def feed(path = "/feed", **options)
    client = closing(SseClient.new(app.address, path, headers: login("ann"), **options))
    expect(client.read_event.event).to eq("push.open")
    client
  end

  def chat(name) = websocket("/feed", headers: login(name))

  def item(text) = /<turbo-stream action="append" target="comments"><template><li id="comment_\d+">#{text}<\/li>/

  # Creates a comment as any code of the app would.
  def comment(text) = app.ask("Rails.application.executor.wrap { Comment.create!(author: 'eve', text: #{text.inspect}) }; nil")

  it "starts with rails server -u push_server, with RAILS_MAX_THREADS threads" do
    expect(app.output).to include("=> Booting PushServer", "* #{threads} threads")
  end

  it "accepts only clients that have logged in, and only push connections" do
    expect(SseClient.new(app.address, "/feed", headers: { "host" => host }).response.status).to eq(401)
    expect { websocket("/feed") }.to raise_error(WebSocketClient::Refused, /401/)
    expect(get("/feed", login("ann")).status).to eq(404)
  end

  it "sends a comment from any client to all pages, as an event without a name" do
    ann = feed
    bob = chat("bob")
    bob.text("hello <b>all</b>")
    expect(ann.read_event).to have_attributes(event: nil, data: item("bob: hello &lt;b&gt;all&lt;/b&gt;"))
    expect(bob.read_message).to match(item("bob: hello &lt;b&gt;all&lt;/b&gt;"))
    comment("from a console of the app")
    expect(ann.read_event.data).to match(item("eve: from a console of the app"))
  end

  it "sends a page the comments since it was rendered" do
    comment("before")
    page = get("/comments", login("ann")).body
    comment("meanwhile")
    expect(page).to match(%r{<li id="comment_\d+">eve: before</li>})
    source = feed(page[/<turbo-stream-source src="([^"]+)"/, 1])
    expect(source.read_event.data).to match(item("eve: meanwhile"))
  end

  it "needs no more connections to the database than it has threads" do
    skip "Up to Rails 7.0 a thread that waits for SQLite holds Ruby's lock" if app.ask("Rails.gem_version < '7.1'")
    writers = Array.new(20) { |number| chat("w#{number}") }
    reader = feed
    writers.each { |client| client.text("at once") }
    heard = Array.new(writers.size) { reader.read_event.data[/w\d+(?=: at once)/] }
    expect(heard.sort).to eq(Array.new(writers.size) { |number| "w#{number}" }.sort)
    pool = app.ask("ActiveRecord::Base.connection_pool.stat").transform_keys(&:to_sym)
    expect(pool).to include(size: threads, connections: be <= threads, waiting: 0)
    eventually("the pool to have them back") { app.ask("ActiveRecord::Base.connection_pool.stat[:busy]").zero? }
  end

  it "runs each callback in Rails' executor" do
    client = chat("carl")
    reader = feed
    app.ask("$completed = 0; Rails.application.executor.to_complete { $completed += 1 }; nil")
    client.text("wrapped")
    expect(reader.read_event.data).to match(item("carl: wrapped"))
    eventually("the executor to complete") { app.ask("$completed").positive? }
  end

  it "publishes from a job in the same process" do
    app.ask("ImportJob.perform_later(7); nil")
    told = eventually { app.ask("PushServer.history('imports:7').map { |message| [message.event, message.data] }").then { |all| all if all.size == 3 } }
    expect(told).to eq((1..3).map { |step| ["progress", %({"step":#{step}})] })
  end

  it "publishes from another process of the app, such as rails runner" do
    client = feed
    command = [RbConfig.ruby, File.join(app.dir, "app.rb"), "runner", "PushServer.publish('comments', 'from a runner', event: nil)"]
    library = [File.join(AppProcess::ROOT, "lib"), File.join(__dir__, "../support/app"), ENV.fetch("RUBYLIB", nil)]
    expect(system(environment.merge("RUBYLIB" => library.compact.join(":")), *command, in: File::NULL, chdir: app.dir)).to be(true)
    expect(client.read_event.data).to eq("from a runner")
  end

  it "uses a changed class for new clients, while others keep their handler" do
    path = File.join(app.dir, "app/push/comments_feed.rb")
    code = File.read(path)
    old = chat("old")
    File.write(path, code.sub("text: text", 'text: "#{text}, anew"'))
    young = chat("young")
    [young, old].each { |client| client.text("said") }
    expect(Array.new(2) { young.read_message[/\w+: said[^<]*/] }).to contain_exactly("young: said, anew", "old: said")
  ensure
    File.write(path, code)
  end

  it "starts with rails server alone if there is no Puma, and stops at Ctrl-C" do
    other = start_app(RailsBlog::RAILS, "server", "-b", "127.0.0.1", "-p", "0", via: :ruby, env: environment, files: RailsBlog.files)
    expect(other.output).to include("push_server #{PushServer::VERSION}")
    # Rails traps INT, which Ctrl-C sends.
    other.signal("INT")
    expect(other.wait).to be_success
  end

  it "starts with the push_server command, in an environment and with options" do
    other = start_app("config.ru", "-e", "production", "--sse-event", "", dir: app.dir, env: environment.except("RAILS_ENV"))
    expect(other.ask("Rails.env")).to eq("production")
    expect(other.output).to include("* 5 threads, production")
  ensure
    expect(other&.stop).to be_success
  end
end
