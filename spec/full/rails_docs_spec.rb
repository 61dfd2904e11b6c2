# frozen_string_literal: true

require_relative "framework"
require "push_server/version"

# The app of docs/rails.md, started as the page says.
RSpec.describe "The app of docs/rails.md", :full do
  gems = %w[railties actionpack activejob activerecord sqlite3]
  environment = Framework.environment(*gems)
  threads = 2

  # The files of `rails new` that are needed.
  skeleton = {
    "config/application.rb" => <<~'RUBY',
      require "spec_app"
      require "rails"
      %w[action_controller action_view active_job active_record].each { |name| require "#{name}/railtie" }
      require "push_server"

      class Blog < Rails::Application
        config.load_defaults Rails::VERSION::STRING[/\d+\.\d+/]
        config.root = File.expand_path("..", __dir__)
        config.eager_load = Rails.env.production?
        config.cache_classes = Rails.env.production?
        config.secret_key_base = "0123456789abcdef" * 8
        config.logger = Logger.new($stdout)
        config.log_level = :warn
        config.active_job.queue_adapter = :async
      end
    RUBY
    "config/environment.rb" => "require_relative 'application'\nBlog.initialize!\n",
    "config.ru" => "require_relative 'config/environment'\nrun Rails.application\n",
    "config/database.yml" => <<~YAML,
      default: &default
        adapter: sqlite3
        database: blog.sqlite3
        pool: <%= ENV.fetch("RAILS_MAX_THREADS") { 5 } %>
        timeout: 15000
      development: *default
      production: *default
    YAML
    "config/initializers/schema.rb" => <<~RUBY,
      Rails.application.config.after_initialize do
        Rails.application.executor.wrap do
          ActiveRecord::Schema.verbose = false
          unless ActiveRecord::Base.connection.table_exists?("comments")
            ActiveRecord::Schema.define { create_table(:comments) { |table| table.string :author; table.string :text } }
          end
        end
      end
    RUBY
    "app/controllers/application_controller.rb" => "class ApplicationController < ActionController::Base; end\n",
    "app/controllers/sessions_controller.rb" => <<~RUBY,
      class SessionsController < ApplicationController
        skip_forgery_protection

        def create
          session[:name] = params[:name]
          head :no_content
        end
      end
    RUBY
    "app/models/application_record.rb" => "class ApplicationRecord < ActiveRecord::Base; self.abstract_class = true; end\n",
    "app/jobs/application_job.rb" => "class ApplicationJob < ActiveJob::Base; end\n"
  }.freeze
  # Like bin/rails.
  rails = "Dir.chdir(__dir__)\nAPP_PATH = File.expand_path('config/application')\nrequire 'rails/commands'\n"
  server = %w[server -u push_server -b 127.0.0.1 -p 0]
  development = (environment || {}).merge("RAILS_ENV" => "development", "RACK_ENV" => nil, "RAILS_MAX_THREADS" => threads.to_s)

  if environment
    serve rails, *server, via: :ruby, env: development, files: skeleton.merge(DocsPage.new("rails.md").files)
  else
    before(:context) { skip "There is no #{gems.join(", ")} here: bin/test --full and bin/debian13 say how to have it" }
  end

  def host = "127.0.0.1:#{app.port}"

  # The session of a user that has logged in, as headers of a request.
  def login(name)
    form = { "host" => host, "content-type" => "application/x-www-form-urlencoded" }
    response = http.request("POST", "/session", form, body: "name=#{name}")
    expect(response.status).to eq(204)
    { "host" => host, "cookie" => response.all("set-cookie").map { |cookie| cookie[/\A[^;]+/] }.join("; ") }
  end

  # An event stream that has subscribed.
  def feed(path = "/feed", **options)
    client = closing(SseClient.new(app.address, path, headers: login("ann"), **options))
    expect(client.read_event.event).to eq("push.open")
    client
  end

  def chat(name) = websocket("/feed", headers: login(name).merge("origin" => "http://#{host}"))

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

  it "does not publish from another process" do
    client = feed
    command = [RbConfig.ruby, File.join(app.dir, "app.rb"), "runner", "PushServer.publish('comments', 'lost')"]
    library = [File.join(AppProcess::ROOT, "lib"), File.join(__dir__, "../support/app"), ENV.fetch("RUBYLIB", nil)]
    expect(system(development.merge("RUBYLIB" => library.compact.join(":")), *command, in: File::NULL, chdir: app.dir)).to be(true)
    comment("heard")
    expect(client.read_event.data).to match(item("eve: heard"))
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
    other = start_app(rails, "server", "-b", "127.0.0.1", "-p", "0", via: :ruby, env: development,
                                                                  files: skeleton.merge(DocsPage.new("rails.md").files))
    expect(other.output).to include("push_server #{PushServer::VERSION}")
    # Rails traps INT, which Ctrl-C sends.
    other.signal("INT")
    expect(other.wait).to be_success
  end

  it "starts with the push_server command, in an environment and with options" do
    other = start_app("config.ru", "-e", "production", "--sse-event", "", dir: app.dir,
                                                                       env: environment.merge("RACK_ENV" => nil))
    expect(other.ask("Rails.env")).to eq("production")
    expect(other.output).to include("* 5 threads, production")
  ensure
    expect(other&.stop).to be_success
  end
end
