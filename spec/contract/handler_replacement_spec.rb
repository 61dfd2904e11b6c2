# frozen_string_literal: true

require "spec_helper"

# client.handler = another, where it matters when it was said: twice in one callback, or too late. The ordinary swap is in
# handler_swap_spec.rb.
RSpec.describe "Replacing the handler" do
  serve <<~'CONFIG'
    require "spec_app"

    Second = SpecApp::Recorder.new(label: "second")
    Third = SpecApp::Recorder.new(label: "third")
    # One without on_message, so that messages are wanted only if the other's wish counts.
    class Deaf
      def on_open(client) = SpecApp.report(:open, client, handler: "deaf")
      def on_close(client, *) = SpecApp.report(:close, client, handler: "deaf")
    end

    twice = lambda do |client, *|
      client.handler = Second
      client.handler = Third
    end
    First = SpecApp::Recorder.new(
      label: "first",
      open: ->(client) { twice[client] if client.env["PATH_INFO"] == "/open" },
      message: lambda do |client, data|
        case data
        when "twice" then twice[client]
        when "thrice" then [Second, Third, Second].each { |handler| client.handler = handler }
        when "deaf, then third" then [Deaf.new, Third].each { |handler| client.handler = handler }
        when "raise between"
          client.handler = Second
          begin
            raise "rescued"
          rescue RuntimeError
            client.handler = Third
          end
        end
      end,
      close: lambda do |client, *|
        client.handler = Second if client.env["PATH_INFO"] == "/close"
      end
    )

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = First
      [200, {}, []]
    end)
  CONFIG

  describe "several times in one callback" do
    it "lets only the last take over: on_message" do
      client = websocket
      client.texts("twice", "hello")
      client.finish
      event(:close, client, handler: "third", code: 1000)
      expect(labelled_story(client)).to eq(["first open", "first message twice", "first close", "third open", "third message hello", "third close"])
    end

    it "lets only the last take over: on_open" do
      client = websocket("/open")
      client.text("hello")
      client.finish
      event(:close, client, handler: "third", code: 1000)
      expect(labelled_story(client)).to eq(["first open", "first close", "third open", "third message hello", "third close"])
    end

    it "lets only the last take over: Server-Sent Events" do
      client = sse("/open")
      event(:open, client, handler: "third")
      client.close
      event(:close, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first close", "third open", "third close"])
    end

    it "lets only the last take over: one that was set before" do
      client = websocket
      client.texts("thrice", "hello")
      client.finish
      event(:close, client, handler: "second", code: 1000)
      expect(labelled_story(client)).to eq(["first open", "first message thrice", "first close", "second open", "second message hello",
                                  "second close"])
    end

    it "keeps messages that only the last wants" do
      client = websocket
      client.texts("deaf, then third", "hello")
      event(:message, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first message deaf, then third", "first close", "third open", "third message hello"])
    end

    it "lets only the last take over: with an exception in between" do
      client = websocket
      client.texts("raise between", "hello")
      event(:message, client, handler: "third")
      expect(labelled_story(client).grep(/second/)).to eq([])
    end

    it "counts for that callback alone: another callback's swap is one of its own" do
      client = websocket("/open")
      event(:open, client, handler: "third")
      ask(client, "client.handler = First; nil")
      event(:open, client, handler: "first")
      # This on_open has swapped twice again.
      event(:open, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first close", "third open", "third close", "first open", "first close", "third open"])
    end
  end

  describe "from elsewhere, several times" do
    it "lets them take turns" do
      client = opened(websocket)
      ask(client, "client.handler = Second; client.handler = Third; nil")
      event(:open, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first close", "second open", "second close", "third open"])
    end
  end

  describe "of a client that is closed" do
    # Closed, and the last callback has returned: a round trip of another client's callbacks has been on its worker.
    def closed(path = "/")
      client = opened(websocket(path))
      client.finish
      event(:close, client)
      eventually("on_close to return") { ask(client, "client.env.nil?") }
      client
    end

    it "does nothing" do
      client = closed
      expect(ask(client, "client.handler = Second; client.handler.equal?(First)")).to be(true)
      event(:open, other = websocket)
      other.finish
      event(:close, other)
      expect(labelled_story(client)).to eq(["first open", "first close"])
    end

    it "does nothing within on_close" do
      client = closed("/close")
      event(:open, other = websocket)
      other.finish
      event(:close, other)
      expect(ask(client, "client.handler.equal?(First)")).to be(true)
      expect(labelled_story(client)).to eq(["first open", "first close"])
    end

    it "keeps none of them" do
      client = closed
      ask(client, "2000.times { client.handler = Deaf.new }; nil")
      left = ask(client, "GC.start; ObjectSpace.each_object(Deaf).count")
      # A stack may still show a few.
      expect(left).to be < 100
    end
  end
end
