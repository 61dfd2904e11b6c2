# frozen_string_literal: true

require "spec_helper"

# After large messages, a connection uses as little memory as before.
RSpec.describe "The memory of idle WebSockets" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    class Taker
      def on_open(client) = SpecApp.remember(client)

      def on_message(client, data)
        client.write(data.bytesize.to_s)
        data.clear
      end
    end

    handler = Taker.new
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  size = 1_000_000
  count = 150

  # In KiB, after a collection of Ruby's garbage.
  def resident
    app.ask("3.times { GC.start }; nil")
    app.resident
  end

  before { skip "there is no /proc" unless app.resident }

  def pass_round(clients, bytes, size)
    clients.each do |client|
      client.write(bytes)
      expect(client.read_message).to eq(size.to_s)
    end
  end

  {
    "in one frame" => WebSocketFrame.encode(:binary, "x" * size),
    "in fragments" => WebSocketFrame.encode(:binary, "x" * (size - 1000), fin: false) + WebSocketFrame.encode(:continuation, "x" * 1000)
  }.each do |how, bytes|
    it "is given back after a large message on each, #{how}" do
      clients = Array.new(count) { websocket }
      # What allocators keep for good after one such message is not measured.
      pass_round(clients.first(5), bytes, size)
      before = resident
      pass_round(clients, bytes, size)
      # Half of one message each would be 73 MiB.
      eventually("the memory to be given back") { resident - before < 50_000 }
      clients.each { |client| client.text("ok") }
      clients.each { |client| expect(client.read_message).to eq("2") }
    end
  end
end
