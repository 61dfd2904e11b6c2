# frozen_string_literal: true

require "spec_helper"

# In development, the log says once that a binary String was written or published that may be text.
RSpec.describe "The hint about binary Strings that may be text" do
  config = <<~'CONFIG'
    require "spec_app"

    run(lambda do |env|
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  # The hints that are logged when this code runs with a client of this kind.
  define_method(:hints) do |code, kind: :websocket, environment: "development"|
    start_app(config, env: { "RACK_ENV" => environment })
    client = opened(send(kind))
    ask(client, "#{code}; nil")
    ask(client, "$stderr.puts('the end'); nil")
    app.wait_for_line(/the end/)
    app.lines.grep(/info: (publish|client\.write) .*ASCII-8BIT.*force_encoding/)
  end

  after do
    close_clients
    expect(app.stop).to be_success
  end

  {
    "written to a WebSocket" => ['client.write("x".b)'],
    "written to an event stream" => ['client.write("x".b)', { kind: :sse }],
    "published" => ['PushServer.publish("news", "x".b)']
  }.each do |how, (code, options)|
    it "is logged for the first such String that is #{how}, and only once" do
      expect(hints("3.times { #{code} }; PushServer.publish('news', 'y'.b)", **options.to_h).size).to eq(1)
    end
  end

  {
    "for text, or for bytes that are not UTF-8" => ['client.write("x"); client.write([255].pack("C")); PushServer.publish("news", [255].pack("C"))'],
    "when as: says what it is" => ['PushServer.publish("news", "x".b, as: :binary); PushServer.publish("news", "x".b, as: :text)'],
    "in production" => ['client.write("x".b); PushServer.publish("news", "x".b)', { environment: "production" }]
  }.each do |where, (code, options)|
    it "is not logged #{where}" do
      expect(hints(code, **options.to_h)).to eq([])
    end
  end
end
