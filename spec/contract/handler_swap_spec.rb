# frozen_string_literal: true

require "spec_helper"

# client.handler = another: the old handler's on_close, then the new one's on_open, and nothing is lost between them.
RSpec.describe "Swapping the handler" do
  serve <<~'CONFIG'
    require "spec_app"

    Second = SpecApp::Recorder.new(label: "second")
    GATE = Queue.new

    First = SpecApp::Recorder.new(
      label: "first",
      open: ->(client) { client.handler = Second if client.env["PATH_INFO"] == "/at-once" },
      message: lambda do |client, data|
        case data
        when "swap" then client.handler = Second
        when "wait" then GATE.pop
        when "swap and raise"
          client.handler = Second
          raise "after the swap"
        end
      end
    )

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = First
      [200, {}, []]
    end)
  CONFIG

  it "happens right after the callback that asked for it, before messages that wait already" do
    client = websocket
    client.texts("one", "swap", "two", "three")
    client.send_close(1000)
    event(:close, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first message one", "first message swap", "first close", "second open",
                                "second message two", "second message three", "second close"])
  end

  it "happens after events that wait already when it is asked for from elsewhere" do
    client = websocket
    client.texts("wait", "one", "two")
    # The pong tells that the messages before the ping are in the mailbox.
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

  it "may be asked for in on_open" do
    client = websocket("/at-once")
    client.text("one")
    event(:message, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first close", "second open", "second message one"])
  end

  it "happens even if the callback raises after it asked for it" do
    client = websocket
    client.texts("swap and raise", "one")
    event(:message, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first message swap and raise", "first close", "second open",
                                "second message one"])
  end

  it "gives the old handler's on_close neither code nor reason, and keeps the connection open" do
    client = websocket
    client.text("swap")
    event(:close, client, handler: "first", code: nil, reason: nil)
    event(:open, client, handler: "second")
    expect(ask(client, "client.open?")).to be(true)
    client.finish(4002, "later")
    event(:close, client, handler: "second", code: 4002, reason: "later")
    expect(labelled_story(client).count("first close")).to eq(1)
  end

  it "shows in client.handler" do
    client = opened(websocket)
    expect(ask(client, "client.handler.equal?(First)")).to be(true)
    client.text("swap")
    event(:open, client, handler: "second")
    expect(ask(client, "client.handler.equal?(Second)")).to be(true)
  end

  it "works for Server-Sent Events" do
    client = opened(sse)
    ask(client, "client.handler = Second; nil")
    event(:open, client, handler: "second")
    client.close
    event(:close, client, handler: "second")
    expect(labelled_story(client)).to eq(["first open", "first close", "second open", "second close"])
  end
end
