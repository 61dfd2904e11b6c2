# frozen_string_literal: true

require "spec_helper"

# The examples over sockets. spec/browser tests their pages in Chromium.
RSpec.describe "The examples" do
  def expect_page(path, *parts)
    response = get(path)
    expect(response.status).to eq(200)
    expect(response["content-type"]).to match(%r{\Atext/html})
    expect(response.body).to include(*parts)
  end

  shared_examples "a clock" do
    it "serves its pages" do
      expect_page("/websocket.html", "<!DOCTYPE html>", 'id="message"', "WebSocket(")
      expect_page("/sse.html", "<!DOCTYPE html>", 'id="message"', "EventSource(")
      expect(get("/nothing").status).to eq(404)
    end

    it "ticks over both protocols, sets its cookie and answers messages" do
      socket = websocket("/listen")
      stream = sse("/sse")
      expect([socket, stream].map { |client| client.response["set-cookie"] }).to all(eq("clock=seen; path=/"))
      expect(Array.new(2) { socket.read_message }).to all(match(/\A\d\d:\d\d:\d\d\z/))
      expect(Array.new(2) { stream.read_event }).to all(have_attributes(event: nil, data: match(/\A\d\d:\d\d:\d\d\z/)))
      socket.text("hello")
      answer = socket.read_message until answer&.start_with?("You said")
      expect(answer).to eq("You said: hello")
    end

    it "answers 404 to ordinary requests for its stream paths" do
      expect(get("/listen").status).to eq(404)
    end
  end

  context "clock/config.ru, from another folder" do
    serve File.join(AppProcess::ROOT, "examples/clock/config.ru"), dir: Dir.tmpdir

    it_behaves_like "a clock"

    it "redirects / to a page" do
      expect(get("/")).to have_attributes(status: 302, headers: include("location" => ["/websocket.html"]))
    end
  end

  context "clock/push.rb, from another folder" do
    serve File.join(AppProcess::ROOT, "examples/clock/push.rb"), dir: Dir.tmpdir, via: :ruby, env: { "PORT" => "0" }

    it_behaves_like "a clock"
  end

  context "echo/config.ru, behind Rack::Lint and from another folder" do
    serve "use Rack::Lint\nrun Array(Rack::Builder.parse_file(#{File.join(AppProcess::ROOT, "examples/echo/config.ru").dump})).first"

    it "serves its page" do
      expect_page("/", "<!DOCTYPE html>", "WebSocket(")
      expect(get("/nothing").status).to eq(404)
    end

    it "echoes text and bytes" do
      client = websocket
      client.text("grüße")
      expect(client.read_message).to eq("grüße")
      client.binary("\xff\x00")
      expect(client.read_message).to eq("\xff\x00".b)
    end
  end

  context "chat/config.ru, behind Rack::Lint and from another folder" do
    serve "use Rack::Lint\nrun Array(Rack::Builder.parse_file(#{File.join(AppProcess::ROOT, "examples/chat/config.ru").dump})).first"

    # A member of the room, and what it has got so far.
    def join(name)
      client = sse("/room?member=#{name.downcase}&name=#{name}&")
      next_event(client, "push.here")
      client
    end

    def next_event(client, event)
      loop do
        received = client.read_event
        return JSON.parse(received.data, symbolize_names: true) if received.event == event
      end
    end

    def say(**words) = http.request("POST", "/say", body: JSON.generate(words)).status

    it "serves its page and push.js" do
      expect_page("/", "<!DOCTYPE html>", "push.js")
      expect(get("/push.js").body).to eq(File.read(File.join(AppProcess::ROOT, "lib/push_server/push.js")))
      expect(get("/nothing").status).to eq(404)
      expect(get("/room").status).to eq(404)
    end

    it "sends all members the name of each new member, and each message" do
      ann = join("Ann")
      bob = join("Bob")
      expect(next_event(ann, "push.join")).to include(member: "bob", info: { name: "Bob" })
      expect(say(member: "bob", text: " grüße ")).to eq(204)
      expect([ann, bob].map { |client| next_event(client, "said") }).to all(include(member: "bob", name: "Bob", text: "grüße"))
      expect(get("/").body).to include("grüße".b)
    end

    it "accepts messages only from members, and only with text" do
      join("Cleo")
      expect(say(member: "nobody", text: "hello")).to eq(403)
      expect([say(member: "cleo", text: " "), say(member: "cleo", text: "x" * 2001), say(member: "cleo", text: 7)]).to all(eq(422))
      expect(http.request("POST", "/say", body: "{").status).to eq(400)
    end
  end

  context "assistant/config.ru, behind Rack::Lint and from another folder" do
    example = File.join(AppProcess::ROOT, "examples/assistant")
    serve "require 'spec_app'\nuse Rack::Lint\nrun Array(Rack::Builder.parse_file(#{File.join(example, "config.ru").dump})).first",
          "--threads", "5"

    def talk = "/talks/#{SecureRandom.hex(8)}"

    # Sends a question, and reads the stream that answers it.
    def asking(question, path = talk, **how)
      client = closing(SseClient.new(app.address, path, method: "POST", body: question, **how))
      expect(client).to be_accepted
      client
    end

    # The next event of this name: its ID and its data.
    def next_event(client, event)
      received = client.read_event until received&.event == event
      JSON.parse(received.data, symbolize_names: true).merge(id: received.id)
    end

    # The words up to the end of an answer.
    def words(client)
      received = []
      until (event = client.read_event).event == "done"
        received << JSON.parse(event.data)["word"] if event.event == "word"
      end
      received
    end

    it "redirects each visitor to a conversation of their own, with a page" do
      leads = Array.new(2) { get("/") }
      expect(leads.map(&:status)).to eq([302, 302])
      addresses = leads.map { |response| response["location"] }
      expect(addresses.uniq).to match([/\A\?\h{16}\z/, /\A\?\h{16}\z/])
      expect_page("/#{addresses.first}", "<!DOCTYPE html>", "push.js")
      expect(["/nothing", "/talks/short", talk].map { |path| get(path).status }).to eq([404, 404, 404])
    end

    it "streams the answer to a POST, and continues it for a client that reconnects with an ID" do
      first = asking("Who is the keeper?", path = talk)
      expect(next_event(first, "asked")).to include(question: "Who is the keeper?")
      cursor = next_event(first, "word").fetch(:id)
      second = closing(SseClient.new(app.address, path, headers: { "last-event-id" => cursor }))
      rest = words(first)
      expect(rest.size).to be > 50
      expect(words(second)).to eq(rest)
      # The answer is in the page.
      expect(get("/?#{path[/\h+\z/]}").body).to include("Who is the keeper?", rest.last)
    end

    it "accepts a question from a client that does not read the answer, and refuses an empty or a long one" do
      path = talk
      stream = asking("first", path)
      expect(http.request("POST", path, body: "Grüße?").status).to eq(202)
      expect(next_event(stream, "asked")).to include(question: "first")
      expect(next_event(stream, "asked")).to include(question: "Grüße?")
      expect([" ", "x" * 501].map { |question| http.request("POST", path, body: question).status }).to eq([422, 422])
    end

    it "uses as many threads for 200 streams as for one" do
      threads = -> { app.ask("Thread.list.size") }
      next_event(asking("How many threads?"), "word")
      before = threads.call
      streams = Array.new(200) { asking("How many threads?") }
      streams.each { |client| next_event(client, "word") }
      # `ask` makes threads, too, which end soon.
      eventually("no more threads than for one") { threads.call <= before }
      expect(streams.map { |client| next_event(client, "done")[:threads] }).to all(be <= before)
    end
  end
end
