# frozen_string_literal: true

require "spec_helper"

# The first example of docs/channels.md.
RSpec.describe "The example in docs/channels.md" do
  include ChannelClients

  page = File.read(File.expand_path("../../docs/channels.md", __dir__))
  code = page[/^```ruby\n(.*?)^```/m, 1]

  serve code, files: { "chat.html" => "<title>Chat</title>" }

  it "is a chat in 20 lines that works" do
    expect(code.lines.size).to be <= 20
    expect(get("/").body).to include("Chat")
    people = ["Ana", "Bj%C3%B6rn"].map do |name|
      client = closing(PushV1Client.new(app.address, "/?#{name}"))
      expect(Array.new(2) { client.read_event.event }).to eq(%w[push.open push.here])
      client
    end
    expect(JSON.parse(people.first.read_event.data)).to include("member" => "Björn")
    people.last.text("hi")
    said = people.map(&:read_event)
    expect(said.map(&:event)).to eq([nil, nil])
    expect(said.map { |block| JSON.parse(block.data) }).to eq([{ "from" => "Björn", "text" => "hi" }] * 2)
  end
end
