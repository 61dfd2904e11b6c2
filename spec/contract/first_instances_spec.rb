# frozen_string_literal: true

require "spec_helper"

# Each native class has a first object. Ruby may switch to another thread wherever it runs Ruby code, also while the first
# object of a class is made, and that thread may need the class, too.
RSpec.describe "The first objects of the native classes" do
  config = <<~'CONFIG'
    require "spec_app"

    # A look-up of a constant that lets all other threads run.
    Object.singleton_class.prepend(Module.new do
      def const_get(name, ...)
        sleep 0.05 if Thread.current.name&.start_with?("push_server thread") && name.to_s.include?("PushServer")
        super
      end
    end)
    handler = SpecApp::Recorder.new(open: ->(client) { client.write(PushServer.publish("news", "x").to_s.empty?.to_s) })

    run(lambda do |env|
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      body = env["PATH_INFO"] == "/stream" ? ->(stream) { stream.write("streamed"); stream.close } : ["plain"]
      [200, {}, body]
    end)
  CONFIG

  before { start_app(config) }

  it "can be made by several threads at once" do
    asked = Array.new(4) { [http.send_request("GET", "/"), http.send_request("GET", "/stream")] }
    streams = Array.new(4) { http.send_request("GET", "/", { "accept" => "text/event-stream" }) }
    asked.each { |plain, streamed| expect([plain.read_response.body, streamed.read_response.body]).to eq(%w[plain streamed]) }
    streams.each do |stream|
      expect(stream.read_head.status).to eq(200)
      expect(stream.connection.read_until("data: false\n\n")).to include("data: false")
    end
  end
end
