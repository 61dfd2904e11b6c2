# frozen_string_literal: true

require "spec_helper"

# The programs that the README shows.
RSpec.describe "README.md" do
  programs = File.read(File.expand_path("../README.md", __dir__)).scan(/^```ruby\n(.*?)^```/m).flatten

  describe "the config.ru" do
    serve programs.grep(/^run\(/).first

    it "serves a page, and tells the time to an event stream and to a WebSocket" do
      expect(get("/")).to have_attributes(status: 200, body: include("EventSource"))
      stream = sse("/")
      expect(stream.read_event.event).to eq("push.open")
      expect(stream.read_event).to have_attributes(event: nil, data: match(/\A\d\d:\d\d:\d\d\z/))
      expect(websocket("/").read_message).to match(/\A\d\d:\d\d:\d\d\z/)
    end
  end

  describe "the program without a config.ru" do
    serve programs.grep(/^PushServer::Server\.start/).first.sub("9292", "0"), via: :ruby,
          files: { "public/file.txt" => "a file" }

    it "serves files, a handler and a WebSocket" do
      expect(get("/file.txt").body).to eq("a file")
      expect(get("/hello").body).to eq("hello")
      client = websocket("/listen")
      client.text("hi")
      expect(client.read_message).to eq("you said hi")
    end
  end
end
