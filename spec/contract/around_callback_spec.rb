# frozen_string_literal: true

require "spec_helper"

# A framework uses PushServer.around_callback for its executor, its database connections and its context.
RSpec.describe "PushServer.around_callback" do
  serve <<~'CONFIG'
    require "spec_app"

    PushServer.around_callback do |client, event, run|
      SpecApp.report(:before, client, callback: event, symbol: event.is_a?(Symbol))
      Thread.current[:context] = "set around"
      run.call
    ensure
      Thread.current[:context] = nil
      SpecApp.report(:after, client, callback: event)
    end

    handler = SpecApp::Recorder.new(
      open: ->(client) { client.write("hello") },
      message: ->(client, data) { data == "raise" ? raise("failed") : client.write(Thread.current[:context]) }
    )
    def handler.on_error(client, error) = SpecApp.report(:error, client, message: error.message)

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  def callbacks(client, phase)
    app.events.all(event: phase, id: client.id).map { |event| event[:callback] }
  end

  it "wraps every callback, on the thread that runs it" do
    client = websocket
    expect(client.read_message).to eq("hello")
    event(:after, client, callback: "on_drained")
    client.text("hi")
    expect(client.read_message).to eq("set around")
    event(:after, client, callback: "on_drained")
    client.finish
    event(:after, client, callback: "on_close")
    expected = %w[on_open on_drained on_message on_drained on_close]
    expect(callbacks(client, "before")).to eq(expected)
    expect(callbacks(client, "after")).to eq(expected)
    expect(app.events.all(event: "before", id: client.id)).to all(include(symbol: true))
    expect(story(client)).to eq(%i[before open after before drained after before message after before drained after
                                   before close after])
  end

  it "wraps the callbacks of an event stream" do
    client = sse
    expect(client.read_event.data).to eq("hello")
    event(:after, client, callback: "on_drained")
    client.close
    event(:after, client, callback: "on_close")
    expect(callbacks(client, "before")).to eq(%w[on_open on_drained on_close])
  end

  it "lets the exception of a callback through to on_error" do
    client = websocket
    client.text("raise")
    expect_event(:error, client, message: "failed")
    client.finish
    expect_event(:after, client, callback: "on_close")
  end
end
