# frozen_string_literal: true

require "spec_helper"

# In development, the log says once that events without a name are called `msg`, unless the app has chosen a name.
RSpec.describe "The hint about the names of events" do
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

  # The hints that are logged when this code runs with a client of this kind.
  define_method(:hints) do |code, *options, kind: :sse, environment: "development"|
    start_app(config, *options, env: { "RACK_ENV" => environment })
    client = opened(send(kind))
    ask(client, "#{code}; nil")
    ask(client, "$stderr.puts('the end'); nil")
    app.wait_for_line(/the end/)
    app.lines.grep(hint)
  end

  after do
    close_clients
    expect(app.stop).to be_success
  end

  it "is logged at the first write to an event stream that names no event, and only once" do
    expect(hints('3.times { client.write("x") }; PushServer.publish("news", "x")').size).to eq(1)
  end

  it "is logged when something is published while an event stream is open" do
    expect(hints('3.times { PushServer.publish("news", "x") }').size).to eq(1)
  end

  {
    "when every event has a name or says that it has none" => ['client.write("x", event: nil); PushServer.publish("news", "x", event: "y")'],
    "when the app has once named an event" => ['client.write("x", event: nil); client.write("x")'],
    "when the option says that events have no name" => ['client.write("x")', "--sse-event", ""],
    "when the option names them, even with the default" => ['client.write("x")', "--sse-event", "msg"],
    "for a WebSocket" => ['client.write("x"); PushServer.publish("news", "x")', { kind: :websocket }],
    "in production" => ['client.write("x")', { environment: "production" }],
    "in tests" => ['client.write("x")', { environment: "test" }]
  }.each do |where, (code, *options)|
    it "is not logged #{where}" do
      how = options.last.is_a?(Hash) ? options.pop : {}
      expect(hints(code, *options, **how)).to eq([])
    end
  end
end
