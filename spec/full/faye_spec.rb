# frozen_string_literal: true

require_relative "framework"

# faye-websocket, unchanged. It hijacks the connection and gives it to EventMachine.
RSpec.describe "faye-websocket", :full do
  Framework.serve(self, "faye", "faye-websocket")

  it "sends and gets messages, fragments, pongs and Close frames" do
    skip Script.missing(:python) if Script.missing(:python)
    results = Script.run("websockets_client.py", "ws://127.0.0.1:#{app.port}")
    expect(results).to include(text: { same: true, binary: false }, binary: { same: true, binary: true },
                               largeText: { same: true, binary: false }, largeBinary: { same: true, binary: true },
                               fragmented: "in three parts", pong: "are you there?",
                               closedByClient: [4001, "bye"], closedByServer: [4002, "as you wish é"])
    expect(app.events.take(event: "close", id: "py")).to include(code: 4001, reason: "bye")
  end

  it "streams events, and notices that the client has disconnected" do
    client = sse
    expect(client).to be_accepted
    expect(client.read_event).to have_attributes(event: nil, data: "nameless")
    expect(client.read_event).to have_attributes(event: "tick", data: "grüße", id: "7")
    client.close
    event(:close, client)
  end

  it "does not keep the server from serving others while many connections are hijacked" do
    clients = Array.new(50) { websocket }
    expect(Array.new(20) { get("/").body }).to all(eq("true"))
    clients.each { |client| client.text("hello #{client.id}") }
    expect(clients.map(&:read_message)).to eq(clients.map { |client| "hello #{client.id}" })
  end
end
