# frozen_string_literal: true

require_relative "serving"

# A WebSocket whose text messages hold the blocks of an event stream: the subprotocol push.v1.
class PushV1Client < WebSocketClient
  def initialize(address, target = "/", headers: {}, **options)
    super(address, target, headers: { "sec-websocket-protocol" => "push.v1" }.merge(headers), **options)
  end

  def read_event(**deadline) = SseClient.parse(read_message(**deadline).delete_suffix("\n\n").split("\n", -1))
end

# For specs of channels: an app whose clients subscribe to the channels in their path, and clients for it.
module ChannelClients
  # `/a,b` subscribes to a and b.
  APP = <<~'CONFIG'
    require "spec_app"

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.env["PATH_INFO"].delete_prefix("/").split(",").each { |channel| client.subscribe(channel) }
        super
      end

      def on_gap(client, channel) = note(:gap, client, channel: channel)
    end

    run(lambda do |env|
      env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  KINDS = { "SSE" => SseClient, "push.v1" => PushV1Client }.freeze

  # A client that has subscribed. Its push.open is unread. since: its Last-Event-ID. query: further parameters of its query.
  def subscriber(kind, channels, since: nil, query: nil, **options)
    client = unopened(kind, channels, since: since, query: query, **options)
    event(:open, client)
    client
  end

  # The same, whose on_open may not have been called yet.
  def unopened(kind, channels, since: nil, query: nil, headers: {}, **options)
    id = query ? "#{query}&#{Serving.next_name}" : Serving.next_name
    headers = headers.merge("last-event-id" => since) if since
    closing(kind.new(app.address, "/#{channels}?#{id}", id: id, headers: headers, **options))
  end

  # A client that has subscribed and read its push.open. Plain WebSockets get none.
  def subscribed(kind, channels, **options)
    return poller("/#{channels}").tap { |client| expect(client.poll.events.map(&:event)).to eq(["push.open"]) } if kind == PollClient

    subscriber(kind, channels, **options).tap { |client| read_open(client) unless kind == WebSocketClient }
  end

  # Publishes each on the app's side; returns the last one's cursor.
  def publish(channel, *all, **options)
    app.ask("#{all.inspect}.map { |data| PushServer.publish(#{channel.inspect}, data, **#{options.inspect}) }.last")
  end

  # Reads the push.open of a subscriber.
  def read_open(client)
    block = client.read_event
    expect(block.event).to eq("push.open")
    JSON.parse(block.data, symbolize_names: true)
  end

  # The data of the next messages.
  def read_data(client, count) = Array.new(count) { client.read_event.data }
end
