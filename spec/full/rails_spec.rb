# frozen_string_literal: true

require_relative "framework"

# A Rails app with ActionCable, unchanged.
RSpec.describe "Rails", :full do
  Framework.serve(self, "rails", "railties", "actioncable")

  def host = "127.0.0.1:#{app.port}"

  # The cookies of a user that has logged in, as a Cookie header.
  def login(name)
    response = http.request("POST", "/login", { "host" => host, "content-type" => "application/x-www-form-urlencoded" },
                            body: "name=#{name}")
    expect(response).to have_attributes(status: 302, headers: include("location" => ["http://#{host}/me"]))
    response.all("set-cookie").map { |cookie| cookie[/\A[^;]+/] }.join("; ")
  end

  it "has sessions and redirects" do
    expect(get("/me", { "cookie" => login("ann") })).to have_attributes(status: 200, body: "you are ann")
    expect(get("/me").body).to eq("you are ")
  end

  it "accepts an upload, and goes on after an error" do
    start = "--b\r\ncontent-disposition: form-data; name="
    file = "#{start}\"file\"; filename=\"x.bin\"\r\n\r\n#{"x" * 1_000_000}"
    body = "#{start}\"note\"\r\n\r\nhello\r\n#{file}\r\n--b--\r\n"
    response = http.request("POST", "/upload", { "content-type" => "multipart/form-data; boundary=b" }, body: body)
    expect(JSON.parse(response.body)).to eq("name" => "x.bin", "size" => 1_000_000, "note" => "hello")
    expect(get("/boom").status).to eq(500)
    expect(get("/hijack")).to have_attributes(status: 200, body: "true")
  end

  it "streams with ActionController::Live" do
    client = sse("/live")
    expect(client).to be_accepted
    expect(client.connection.read_until("data: before\n\n")).to end_with("data: before\n\n")
    app.ask("LiveController::GATE << :open; nil")
    expect(client.connection.read_until("data: after\n\n")).to end_with("data: after\n\n")
    client.connection.read_until("0\r\n\r\n")
  end

  it "broadcasts over ActionCable to a subscriber" do
    skip Script.missing(:python) if Script.missing(:python)
    client = Script.new("../../full/clients/action_cable.py", "ws://#{host}/cable", login("bob"))
    client.wait_for("subscribed")
    expect(get("/broadcast?text=hello").status).to eq(204)
    expect(client.results).to include(protocol: "actioncable-v1-json", welcome: "welcome", closed: 1000,
                                      subscribed: "confirm_subscription",
                                      broadcast: { from: "the page", text: "hello" },
                                      own: { from: "bob", text: "grüße" })
    app.events.take(event: "unsubscribed", name: "bob")
    app.events.take(event: "disconnected", name: "bob")
  end

  it "lets ActionCable refuse unknown users" do
    client = websocket("/cable", headers: { "origin" => "http://#{host}", "host" => host,
                                            "sec-websocket-protocol" => "actioncable-v1-json" })
    expect(JSON.parse(client.read_message)).to include("type" => "disconnect", "reason" => "unauthorized")
    client.read_close
  end

  it "notices that an ActionCable client was lost" do
    client = websocket("/cable", headers: { "origin" => "http://#{host}", "host" => host, "cookie" => login("eve"),
                                            "sec-websocket-protocol" => "actioncable-v1-json" })
    expect(JSON.parse(client.read_message)).to eq("type" => "welcome")
    client.reset
    app.events.take(event: "disconnected", name: "eve")
  end

  it "upgrades from a controller" do
    expect(websocket("/push").read_message).to eq("from a controller")
    expect(sse("/push").read_event.data).to eq("from a controller")
  end
end
