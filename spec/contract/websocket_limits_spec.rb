# frozen_string_literal: true

require "spec_helper"

# The limits on messages, and the pings of the server.
RSpec.describe "A WebSocket" do
  include WebSocketEcho

  context "with --max-message-size" do
    serve WebSocketEcho::CONFIG, "--max-message-size", "1000"

    it "accepts a message of that size, whole or in fragments" do
      client = websocket
      client.text("x" * 1000)
      expect(client.read_message).to eq("x" * 1000)
      client.send_frame(:text, "x" * 500, fin: false)
      client.send_frame(:continuation, "x" * 500)
      expect(client.read_message).to eq("x" * 1000)
    end

    it "closes the client with 1009 for a larger message" do
      client = websocket
      client.text("x" * 1001)
      expect_failure(client, 1009)
      expect(story(client)).to eq(%i[open close])
    end

    it "closes the client with 1009 as soon as a frame's header says that it is larger" do
      client = websocket
      client.send_frame(:binary, "", length: 2**40)
      expect_failure(client, 1009)
    end

    it "closes the client with 1009 for fragments that are larger together" do
      client = websocket
      client.send_frame(:text, "x" * 600, fin: false)
      client.send_frame(:continuation, "x" * 600, fin: false)
      expect_failure(client, 1009)
    end

    it "does not limit what the app sends" do
      client = opened(websocket)
      ask(client, 'client.write("x" * 100_000)')
      expect(client.read_message.size).to eq(100_000)
    end
  end

  context "with --ping-interval and --pong-timeout" do
    serve WebSocketEcho::CONFIG, "--ping-interval", "0.2", "--pong-timeout", "0.3", "--mailbox-messages", "2", "--threads", "2"

    # Answers the next pings. They show how much time has passed for the server.
    def answer_pings(client, count)
      count.times { client.pong(client.read_until_frame(:ping).payload) }
    end

    it "pings an idle client, and keeps a client that answers" do
      client = websocket
      answer_pings(client, 5)
      client.text("hi")
      expect(client.read_message).to eq("hi")
    end

    it "closes the connection of a client that does not answer; on_close gets 1006" do
      client = websocket
      expect(client.read_frame.opcode).to eq(:ping)
      client.ending
      event(:close, client, code: 1006, reason: "")
      expect(story(client).count(:close)).to eq(1)
    end

    it "extends the deadline while the mailbox is full and the client is not read from" do
      client = websocket
      client.text("wait")
      event(:message, client)
      client.write((1..20).map { |number| frame(:text, number.to_s) }.join)
      # Far longer than the deadline, by another client's pings.
      other = websocket
      8.times do
        answer_pings(other, 1)
        # Over HTTP/2, the connection has pings of its own. This answers them.
        client.connection.anything?
      end
      expect(story(client)).to eq(%i[open message])
      app.ask("GATE << true; nil")
      expect(client.read_message).to eq("wait")
      expect(Array.new(20) { client.read_message }).to eq((1..20).map(&:to_s))
      answer_pings(client, 2)
    end
  end
end
