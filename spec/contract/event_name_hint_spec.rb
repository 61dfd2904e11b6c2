# frozen_string_literal: true

require "spec_helper"

# In development the log says once that events without a name of their own are called `msg`, to an app that never chose.
RSpec.describe "The hint on the names of events" do
  config = <<~'CONFIG'
    require "spec_app"

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.subscribe("news")
        super
      end
    end

    run(lambda do |env|
      env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  hint = /info: .*"msg".*--sse-event ''.*event: nil/

  # What was logged of it after this code has run with a client of this kind.
  define_method(:hints) do |code, *options, kind: :sse, environment: "development"|
    start_app(config, *options, env: { "RACK_ENV" => environment })
    client = send(kind)
    event(:open, client)
    ask(client, "#{code}; nil")
    ask(client, "$stderr.puts('the end'); nil")
    app.wait_for_line(/the end/)
    app.lines.grep(hint)
  end

  after do
    close_clients
    expect(app.stop).to be_success
  end

  it "comes with the first plain write over SSE, and only once" do
    expect(hints('3.times { client.write("x") }; PushServer.publish("news", "x")').size).to eq(1)
  end

  it "comes with what is published while an event stream is open" do
    expect(hints('3.times { PushServer.publish("news", "x") }').size).to eq(1)
  end

  {
    "where every event says what it is called" => ['client.write("x", event: nil); PushServer.publish("news", "x", event: "y")'],
    "where the app has said once what an event is called" => ['client.write("x", event: nil); client.write("x")'],
    "where the option says that events are nameless" => ['client.write("x")', "--sse-event", ""],
    "where the option says their name, were it the default" => ['client.write("x")', "--sse-event", "msg"],
    "over WebSocket" => ['client.write("x"); PushServer.publish("news", "x")', { kind: :websocket }],
    "in production" => ['client.write("x")', { environment: "production" }],
    "in tests" => ['client.write("x")', { environment: "test" }]
  }.each do |where, (code, *options)|
    it "does not come #{where}" do
      how = options.last.is_a?(Hash) ? options.pop : {}
      expect(hints(code, *options, **how)).to eq([])
    end
  end
end
