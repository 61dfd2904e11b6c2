# frozen_string_literal: true

require "spec_helper"

# An nginx that keeps every response back until it is complete. Long polls are made for this.
RSpec.describe "Behind an nginx that buffers", :full do
  include ChannelClients

  if Nginx.version
    serve "require 'push_server'\nPushServer.channel 'kept*', history: 100\n#{ChannelClients::APP}"

    before(:context) do
      buffering = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering; proxy_buffers 8 64k;"
      @nginx = Nginx.new(@app, more: buffering)
      eventually("nginx to listen") { @nginx.listening? }
    end

    after(:context) { @nginx&.stop }
  else
    before(:context) { skip "There is no nginx here" }
  end

  def polling(path)
    id = "push_wait=25&#{Serving.next_name}"
    client = closing(PollClient.new(@nginx.port, "/#{path}?#{id}", id: id))
    expect(client.poll.events.map(&:event)).to eq(["push.open"])
    client
  end

  it "polls get messages, event streams do not" do
    stream = closing(HttpClient.new(@nginx.port))
    stream.send_request("GET", "/kept?stream", { "accept" => "text/event-stream" })
    app.events.take(event: "open", id: "stream")
    client = polling("kept")
    10.times do |number|
      client.ask
      publish("kept", number.to_s)
      expect(client.answer.data).to eq([number.to_s])
    end
    expect(stream.connection.anything?).to be(false)
  end

  it "a session continues after the connection to nginx was lost" do
    client = polling("kept")
    publish("kept", "1")
    expect(client.poll.data).to eq(["1"])
    client.ask.lose
    publish("kept", "2", "3")
    expect(client.events(2).map(&:data)).to eq(%w[2 3])
    expect(story(client)).to eq([:open])
  end
end
