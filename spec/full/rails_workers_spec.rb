# frozen_string_literal: true

require_relative "rails_blog"

# The app of docs/rails.md in several processes.
RSpec.describe "Rails with workers", :full, transport: :tcp do
  include Clusters

  before { skip RailsBlog::MISSING unless RailsBlog.environment }

  # Comments come by requests, too: a client knows from the answer that its comment was taken.
  extended = RailsBlog.files.merge(
    "tmp/.keep" => "",
    "config/routes.rb" => RailsBlog.files.fetch("config/routes.rb").sub(/^end$/, "  resources :notes, only: :create\nend"),
    "app/controllers/notes_controller.rb" => <<~RUBY
      class NotesController < ApplicationController
        skip_forgery_protection

        def create
          Comment.create!(author: session[:name], text: params[:text])
          head :no_content
        end
      end
    RUBY
  )

  documented = DocsPage.new("rails.md").code("Several processes", "ruby")

  def login = RailsBlog.login("ann", app.address)

  # A stream that has begun, and the block with which it began.
  def feed(headers)
    client = closing(SseClient.new(app.address, "/feed", headers: headers))
    opening = client.read_event
    expect(opening.event).to eq("push.open")
    [client, opening]
  end

  # The worker that holds a stream.
  def worker_of(client) = client.response["x-worker"].to_i

  # A stream in each worker.
  def feeds(headers)
    by_worker = {}
    expect_eventually("a stream in each worker") do
      client, = feed(headers)
      by_worker[worker_of(client)] = client
      by_worker.keys.sort == workers.values.sort
    end
    by_worker.values
  end

  # Posts a comment on a connection of its own. Returns the worker that has taken it.
  def comment(headers, text)
    client = HttpClient.new(app.address)
    form = headers.merge("content-type" => "application/x-www-form-urlencoded")
    response = client.request("POST", "/notes", form, body: "text=#{text}")
    raise "comment #{text}: #{response.status}" unless response.status == 204

    response["x-worker"].to_i
  ensure
    client&.close
  end

  # What a page shows of a comment in an event.
  def shown(event) = event.data[%r{<li id="comment_\d+">(.*?)</li>}, 1]

  # All comments up to the last one, as a browser gets them, which connects again when the stream ends.
  def follow(headers, opened, last)
    seen = []
    id = nil
    until seen.last&.end_with?(last)
      client, opening = feed(id ? headers.merge("last-event-id" => id) : headers)
      id ||= opening.id
      opened&.push(worker_of(client))
      opened = nil
      begin
        until seen.last&.end_with?(last)
          event = client.read_event
          id = event.id
          seen << shown(event)
        end
      rescue RawConnection::Ended
        next # The server restarts.
      end
    end
    seen
  end

  # Changes a file of the app as a deployment does.
  def change(path, before, after)
    file = File.join(app.dir, path)
    code = File.read(file)
    expect(code).to include(before)
    File.write(file, code.sub(before, after))
  end

  # Waits until all workers serve. Rails loads slowly, and `rails server` loads the app twice.
  def expect_all_workers
    app.wait_for_line(/All 2 workers serve/, seconds: 120)
    app.wait_until_listening
  end

  describe "in production" do
    before do
      hooks = <<~'RUBY'
        threads 2
        before_worker_boot { |number| puts "worker #{number} inherits a connection: #{ActiveRecord::Base.connected?}" }
      RUBY
      launch_app(extended.fetch("config.ru"), env: RailsBlog.environment_of("production"),
                                              files: extended.except("config.ru").merge("config/push_server.rb" => documented + hooks))
      expect_all_workers
    end

    it "has the same sessions and the same database in all workers, and no connection to it that two have inherited" do
      headers = login
      takers = []
      expect_eventually("comments that each worker has taken") { (takers |= [comment(headers, "x")]).sort == workers.values.sort }
      expect(app.lines.grep(/inherits/).map(&:chomp).sort).to eq([1, 2].map { |number| "worker #{number} inherits a connection: false" })
      expect(app.stop).to be_success
    end

    it "sends a comment from any worker to the pages of all, in one order" do
      headers = login
      pages = feeds(headers)
      writers = Array.new(8) { websocket("/feed", headers: headers) }
      writers.each_with_index { |client, number| client.text("from #{number}") }
      first, second = pages.map { |page| Array.new(writers.size) { shown(page.read_event) } }

      expect(first.sort).to eq(Array.new(writers.size) { |number| "ann: from #{number}" })
      expect(second).to eq(first)
    end

    it "replaces the code at USR1, while pages that reconnect get each comment once and in order" do
      headers = login
      opened = Queue.new
      pages = Array.new(4) { Thread.new { follow(headers, opened, "last") } }
      before = Array.new(pages.size) { opened.pop }
      over = false
      comment(headers, "number 1")
      count = 1
      writer = Thread.new { comment(headers, "number #{count += 1}") until over }
      change("app/views/comments/_comment.html.erb", "<%= comment.author %>:", "<%= comment.author %> wrote:")
      app.signal("USR1")
      app.wait_for_line(/the phased restart is done/, seconds: 120)
      over = true
      writer.value
      comment(headers, "last")

      expect(workers.values & before).to eq([])
      pages.map(&:value).each do |seen|
        expect(seen.map { |text| text[/\d+|last/] }).to eq([*"1"..count.to_s, "last"])
        expect([seen.first, seen.last]).to eq(["ann: number 1", "ann wrote: last"])
      end
      expect(app.stop).to be_success
    end
  end

  describe "with rails server" do
    development = RailsBlog.environment_of("development")

    define_method(:start_rails) do |env: {}, configuration: ""|
      launch_app(RailsBlog::RAILS, *RailsBlog::SERVER, via: :ruby, env: development.merge(env),
                                                       files: extended.merge("config/push_server.rb" => configuration))
      expect_all_workers
    end

    it "becomes the supervisor of the workers in config/push_server.rb, and restarts like the command push_server" do
      start_rails(configuration: documented)
      pidfile = File.join(app.dir, "tmp/pids/server.pid")
      expect(File.read(pidfile).to_i).to eq(app.pid)
      %w[USR1 USR2].each.with_index(1) do |signal, count|
        before = workers.values
        app.signal(signal)
        expect_eventually("a restart after #{signal}", seconds: 120) { app.lines.grep(/the phased restart is done/).size == count }
        expect(workers.values & before).to eq([])
      end
      headers = login
      pages = feeds(headers)
      comment(headers, "hello")
      expect(pages.map { |page| shown(page.read_event) }).to eq(["ann: hello"] * 2)
      expect(app.stop).to be_success
      expect(File.exist?(pidfile)).to be(false)
    end

    it "takes their number from WEB_CONCURRENCY, and each worker loads a changed class" do
      start_rails(env: { "WEB_CONCURRENCY" => "2" })
      headers = login
      feeds(headers).each(&:close)
      change("app/push/comments_feed.rb", "text: text", 'text: "#{text}, anew"')
      pages = feeds(headers)
      writers = Array.new(6) { websocket("/feed", headers: headers).tap { |client| client.text("said") } }
      pages.each { |page| expect(Array.new(writers.size) { shown(page.read_event) }).to eq(["ann: said, anew"] * writers.size) }
      # As Ctrl-C does.
      app.signal("INT")
      expect(app.wait).to be_success
    end
  end
end
