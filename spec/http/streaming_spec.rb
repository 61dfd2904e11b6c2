# frozen_string_literal: true

require "spec_helper"

# Long bodies: threads, clients that come and go, and memory. What is sent for a body is in responses_spec.rb, bodies that respond to
# call are in streaming_call_spec.rb.
RSpec.describe "A streaming body" do
  include StreamingBodies

  describe "with each" do
    serve StreamingBodies::APP, "--threads", "2"

    after do
      feed(nil)
      expect_threads(2)
    end

    it "runs on the thread that called the app" do
      client = http
      client.send_request("GET", "/feed#{named}")
      told("streaming", same: true)
      feed(nil)
      client.read_response
      expect_closed_once
    end

    it "can be an Enumerator whose fiber belongs to the app's thread" do
      expect(get("/half-consumed").body).to eq("0 1 2 3 4 ")
    end

    it "can read the thread's variables" do
      expect(get("/locals").body).to eq("thread-local")
    end

    it "does not take threads from other requests" do
      clients = Array.new(10) { stream }
      20.times { expect(get("/").body).to eq("plain") }
      feed("part")
      clients.each { |client| expect(client.read_head.status).to eq(200) }
      clients.each { |client| expect(client.connection.read_until("part\r\n")).to eq("4\r\npart\r\n") }
      expect_threads(12)
    end

    it "ends when its client has disconnected, and is closed once" do
      client = stream
      feed("part")
      client.read_head
      client.connection.reset
      eventually("the body to end") do
        feed("part")
        app.events.all(event: "ended", id: @name).any?
      end
      expect_closed_once
    end

    it "ends when its client disconnects without reading" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/endless#{named}")
      client.read_head
      client.connection.reset
      told("ended")
      expect_closed_once
    end

    it "ends when its client has closed the connection without a reset" do
      client = stream
      feed("part")
      client.read_head
      client.close
      eventually("the body to end") do
        feed("part")
        app.events.all(event: "ended", id: @name).any?
      end
      expect_closed_once
    end

    it "does not run far ahead of a slow client" do
      before = app.resident
      clients = Array.new(5) { http(receive_buffer: 4096) }
      produced = app.ask("$produced")
      clients.each { |client| client.send_request("GET", "/endless#{named}") }
      clients.each(&:read_head)
      last = nil
      # Wait until it stops. A body that does not wait for its client would not.
      eventually("the bodies to wait") do
        20.times { get("/") }
        now = app.ask("$produced")
        now == last or (last = now) && false
      end
      expect(last - produced).to be < 5 * 10_000_000
      expect(app.resident - before).to be < 50_000 if before
      clients.each { |client| client.connection.reset }
      5.times { app.events.take(event: "ended", id: /./) }
    end

    it "is used if the body responds to call, too" do
      expect(get("/each-and-call#{named}").body).to eq("each")
      expect_closed_once
    end
  end

  describe "with Server-Sent Events, without rack.upgrade," do
    serve StreamingBodies::APP, "--threads", "5"

    it "streams to 50 clients while 200 requests are answered; its threads end with it" do
      expect_threads(5)
      streams = Array.new(50) { sse("/events") }
      expect(streams).to all(be_accepted)
      ticking = true
      ticks = Thread.new do
        count = 0
        while ticking
          feed("data: #{count += 1}\n\n")
          sleep Eventually::POLL
        end
        count
      end
      200.times { expect(get("/").body).to eq("plain") }
      ticking = false
      total = ticks.value
      expect(total).to be > 3
      streams.each { |client| expect(Array.new(total) { client.read_event.data.to_i }).to eq((1..total).to_a) }
      expect_threads(55)
      streams.each(&:close)
      eventually("the bodies to end") do
        feed(": are you there?\n\n")
        threads == 5
      end
      streams.each { |client| expect_closed_once(client.id) }
    end
  end

  describe "beyond max_streaming" do
    serve StreamingBodies::APP, "--threads", "2", "--max-streaming", "2"

    it "is refused with 503; other requests are answered, and streams again when one has ended" do
      first = stream
      id = @name
      stream
      expect_threads(4)
      refused = get("/feed#{named}")
      expect(refused.status).to eq(503)
      expect(Integer(refused["retry-after"], 10)).to be >= 1
      expect(app.events.all(event: "streaming", id: @name)).to be_empty
      expect_closed_once
      5.times { expect(get("/").body).to eq("plain") }
      app.ask("FEEDS.first << nil; nil")
      expect(first.read_response.body).to eq("")
      told("ended", id)
      expect_threads(3)
      expect(stream).to be_a(HttpClient)
      feed(nil)
      expect_threads(2)
    end
  end

  describe "behind Rack::Lock" do
    serve "#{StreamingBodies::CONFIG}\nuse Rack::Lock\nrun app\n", "--threads", "3"

    it "can be an Array, which releases the lock at once" do
      3.times { expect(get("/").body).to eq("plain") }
    end

    it "holds the lock until it has ended, and no longer" do
      first = stream
      others = [http.send_request("GET", "/"), http.send_request("GET", "/feed#{named}"), http.send_request("GET", "/")]
      feed("part")
      feed(nil)
      expect(first.read_response.body).to eq("part")
      told("streaming")
      feed(nil)
      expect(others.map { |client| client.read_response.body }).to eq(["plain", "", "plain"])
      10.times { expect(get("/").body).to eq("plain") }
      expect_threads(3)
    end
  end

  describe "when the server stops" do
    it "is sent whole if it ends in time, and otherwise cut off" do
      app = start_app(StreamingBodies::APP, "--threads", "1", "--drain-timeout", "1")
      clients = Array.new(2) do
        client = HttpClient.new(app.address)
        client.send_request("GET", "/feed#{named}")
        app.events.take(event: "streaming", id: @name)
        client
      end
      app.ask("FEEDS.each { |feed| feed << 'part' }; nil")
      app.signal("TERM")
      app.wait_for_line(/Stopping/)
      app.ask("FEEDS.first << nil; nil")
      expect(clients.first.read_response.body).to eq("part")
      clients.last.read_head
      expect(clients.last.connection.read_to_end).to eq("4\r\npart\r\n")
      expect(app.wait).to be_success
      expect(app.events.all(event: "closed").size).to eq(2)
    ensure
      clients&.each(&:close)
    end
  end
end
