# frozen_string_literal: true

require "spec_helper"

# client.handler = another: the old handler's on_close is called, then the new one's on_open. No message is lost between them.
RSpec.describe "Replacing the handler" do
  serve <<~'CONFIG'
    require "spec_app"

    Second = SpecApp::Recorder.new(label: "second")
    Third = SpecApp::Recorder.new(label: "third")
    GATE = Queue.new

    class WithoutOnMessage
      def on_open(client) = SpecApp.report(:open, client, handler: "without on_message")
      def on_close(client, *) = SpecApp.report(:close, client, handler: "without on_message")
    end

    replace = ->(client, *handlers) { handlers.each { |handler| client.handler = handler } }
    First = SpecApp::Recorder.new(
      label: "first",
      open: lambda do |client|
        case client.env["PATH_INFO"]
        when "/open" then client.handler = Second
        when "/open-twice" then replace[client, Second, Third]
        end
      end,
      message: lambda do |client, data|
        case data
        when "replace" then client.handler = Second
        when "wait" then GATE.pop
        when "replace and raise"
          client.handler = Second
          raise "after the replacement"
        when "twice" then replace[client, Second, Third]
        when "thrice" then replace[client, Second, Third, Second]
        when "without on_message, then third" then replace[client, WithoutOnMessage.new, Third]
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

  it "happens right after the callback that does it, before messages that wait already" do
    client = websocket
    client.texts("one", "replace", "two", "three")
    client.send_close(1000)
    event(:close, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first message one", "first message replace", "first close", "second open",
                                "second message two", "second message three", "second close"])
  end

  it "happens after the events that wait already when another thread does it" do
    client = websocket
    client.texts("wait", "one", "two")
    # The pong shows that the messages before the ping are in the mailbox.
    client.ping
    client.read_until_frame(:pong)
    ask(client, "client.handler = Second; nil")
    app.ask("GATE << true; nil")
    event(:open, client, handler: "second")
    client.text("three")
    event(:message, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first message wait", "first message one", "first message two", "first close",
                                "second open", "second message three"])
  end

  it "works in on_open" do
    client = websocket("/open")
    client.text("one")
    event(:message, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first close", "second open", "second message one"])
  end

  it "happens even if the callback raises afterwards" do
    client = websocket
    client.texts("replace and raise", "one")
    event(:message, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first message replace and raise", "first close", "second open",
                                "second message one"])
  end

  it "calls the old handler's on_close without code and reason, and keeps the connection open" do
    client = websocket
    client.text("replace")
    event(:close, client, handler: "first", code: nil, reason: nil)
    event(:open, client, handler: "second")
    expect(ask(client, "client.open?")).to be(true)
    client.finish(4002, "later")
    event(:close, client, handler: "second", code: 4002, reason: "later")
    expect(labelled_story(client).count("first close")).to eq(1)
  end

  it "changes client.handler" do
    client = opened(websocket)
    expect(ask(client, "client.handler.equal?(First)")).to be(true)
    client.text("replace")
    event(:open, client, handler: "second")
    expect(ask(client, "client.handler.equal?(Second)")).to be(true)
  end

  it "works for an event stream" do
    client = opened(sse)
    ask(client, "client.handler = Second; nil")
    event(:open, client, handler: "second")
    client.close
    event(:close, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first close", "second open", "second close"])
  end

  describe "several times in one callback" do
    it "opens only the last handler: on_message" do
      client = websocket
      client.texts("twice", "hello")
      client.finish
      event(:close, client, handler: "third", code: 1000)
      expect(labelled_story(client)).to eq(["first open", "first message twice", "first close", "third open", "third message hello", "third close"])
    end

    it "opens only the last handler: on_open" do
      client = websocket("/open-twice")
      client.text("hello")
      client.finish
      event(:close, client, handler: "third", code: 1000)
      expect(labelled_story(client)).to eq(["first open", "first close", "third open", "third message hello", "third close"])
    end

    it "opens only the last handler: on_open of an event stream" do
      client = sse("/open-twice")
      event(:open, client, handler: "third")
      client.close
      event(:close, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first close", "third open", "third close"])
    end

    it "opens only the last handler: one that was set twice" do
      client = websocket
      client.texts("thrice", "hello")
      client.finish
      event(:close, client, handler: "second", code: 1000)
      expect(labelled_story(client)).to eq(["first open", "first message thrice", "first close", "second open", "second message hello",
                                  "second close"])
    end

    it "keeps messages when only the last handler has on_message" do
      client = websocket
      client.texts("without on_message, then third", "hello")
      event(:message, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first message without on_message, then third", "first close", "third open", "third message hello"])
    end

    it "opens only the last handler: with an exception in between" do
      client = websocket
      client.texts("raise between", "hello")
      event(:message, client, handler: "third")
      expect(labelled_story(client).grep(/second/)).to eq([])
    end

    it "opens a handler for each callback that replaces it" do
      client = websocket("/open-twice")
      event(:open, client, handler: "third")
      ask(client, "client.handler = First; nil")
      event(:open, client, handler: "first")
      # This on_open has replaced the handler twice again.
      event(:open, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first close", "third open", "third close", "first open", "first close", "third open"])
    end
  end

  describe "several times from another thread" do
    it "opens and closes each handler in turn" do
      client = opened(websocket)
      ask(client, "client.handler = Second; client.handler = Third; nil")
      event(:open, client, handler: "third")
      expect(labelled_story(client)).to eq(["first open", "first close", "second open", "second close", "third open"])
    end
  end

  describe "of a client that is closed" do
    # A client whose on_close has returned.
    def closed(path = "/")
      client = opened(websocket(path))
      client.finish
      event(:close, client)
      eventually("on_close to return") { ask(client, "client.env.nil?") }
      client
    end

    it "does nothing after on_close" do
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

    it "keeps no reference to the new handlers" do
      client = closed
      ask(client, "2000.times { client.handler = WithoutOnMessage.new }; nil")
      left = ask(client, "GC.start; ObjectSpace.each_object(WithoutOnMessage).count")
      # The collector may still find a few on a stack.
      expect(left).to be < 100
    end
  end
end
