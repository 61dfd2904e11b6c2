# frozen_string_literal: true

require "spec_helper"

# A WebSocket's input ends when the client breaks the protocol, or closes its side without a Close frame. Complete messages
# that came before are handled, and what the handler writes is sent. Then the connection ends, within close_timeout.
RSpec.describe "The end of a WebSocket's input" do
  config = <<~'CONFIG'
    require "push_server"
    require "spec_app"

    GATE = Queue.new
    # Does what the message says.
    COMMANDS = SpecApp::Recorder.new(message: lambda do |client, data|
      case data
      when "wait" then GATE.pop
      when "raise" then raise "as told"
      when "close" then client.close(4000, "by the app")
      when "forever" then sleep 0.001 while client.write("x" * 1000)
      when "subscribe"
        # Refused once the server has noticed the end.
        sleep 0.01 while (answer = client.subscribe("late-#{rand}"))
        client.write(answer.inspect)
      end
      client.write(data)
    end)

    run(lambda do |env|
      env["rack.upgrade"] = COMMANDS
      [200, {}, []]
    end)
  CONFIG

  # How the input ends, and the code that on_close gets.
  ends = {
    "a violation" => [->(client) { client.send_frame(:text, "x", rsv: 1) }, 1002],
    "bad UTF-8" => [->(client) { client.text("\xff") }, 1007],
    "a frame too large" => [->(client) { client.send_frame(:binary, "", length: 2_000_000) }, 1009],
    "a FIN" => [->(client) { client.connection.finish_writing }, 1006]
  }

  # Expects a Close frame after a violation, none after a FIN, and the end of the connection.
  def expect_end(client, code)
    expect(client.read_close.first).to eq(code) unless code == 1006
    client.connection.finish_writing unless code == 1006
    expect(client.ending).to eq(:fin)
    expect { client.read_frame }.to raise_error(RawConnection::Ended, /unread: ""/)
    event(:close, client, code: code, reason: code == 1006 ? "" : String)
    expect(story(client).count(:close)).to eq(1)
    expect(ask(client, "[client.open?, client.write('late'), client.pending]")).to eq([false, false, -1])
  end

  def send_and_end(client, texts, finish)
    event(:open, client)
    # In one write.
    client.texts(*texts)
    finish[client]
  end

  ends.each do |title, (finish, code)|
    context "by #{title}" do
      serve config, *%w[--close-timeout 3600 --threads 2 --mailbox-messages 4]

      it "comes after the answers to earlier messages" do
        client = websocket
        send_and_end(client, %w[a b c], finish)
        expect(Array.new(3) { client.read_message }).to eq(%w[a b c])
        expect_end(client, code)
      end

      it "waits for a running on_message, whose writes are still sent" do
        client = websocket
        send_and_end(client, ["wait"], finish)
        event(:message, client)
        # Once the server has noticed the end, subscribing returns false.
        eventually("the end to be noticed") { !ask(client, "client.subscribe('a-#{rand}')") }
        expect(ask(client, "[client.open?, client.write('meanwhile')]")).to eq([true, true])
        expect(client.read_message).to eq("meanwhile")
        app.ask("GATE << true; nil")
        expect(client.read_message).to eq("wait")
        expect_end(client, code)
      end

      it "comes after the answers to earlier messages even if the handler raises" do
        client = websocket
        send_and_end(client, %w[raise after], finish)
        expect(client.read_message).to eq("after")
        expect_end(client, code)
      end

      it "has its own code even if the handler calls close with another one afterwards" do
        client = websocket
        send_and_end(client, %w[wait close], finish)
        event(:message, client)
        eventually("the end to be noticed") { !ask(client, "client.subscribe('a-#{rand}')") }
        app.ask("GATE << true; nil")
        expect(client.read_message).to eq("wait")
        expect_end(client, code)
      end

      it "makes subscribe return false" do
        client = websocket
        send_and_end(client, ["subscribe"], finish)
        expect(client.read_message).to eq("false")
        expect(client.read_message).to eq("subscribe")
        expect_end(client, code)
      end

      it "comes after all messages of a full mailbox" do
        client = websocket
        texts = ["wait", *(1..50).map(&:to_s)]
        send_and_end(client, texts, finish)
        event(:message, client)
        app.ask("GATE << true; nil")
        expect(Array.new(51) { client.read_message }).to eq(texts)
        expect_end(client, code)
      end

      it "comes after earlier publications" do
        client = opened(websocket)
        channel = "news-#{client.id}"
        ask(client, "client.subscribe(#{channel.inspect})")
        client.texts("wait")
        event(:message, client)
        finish[client]
        app.ask("PushServer.publish(#{channel.inspect}, 'news'); GATE << true; nil")
        expect(Array.new(2) { client.read_message }).to contain_exactly("wait", "news")
        expect_end(client, code)
      end

      it "is reported to on_close once if the client does not read" do
        client = opened(websocket("/", receive_buffer: 4096))
        ask(client, "100.times { client.write('x' * 65_536) }; nil")
        finish[client]
        client.reset
        event(:close, client, code: code)
        expect(story(client).count(:close)).to eq(1)
      end
    end

    context "by #{title}, while a handler does not return," do
      serve config, *%w[--close-timeout 0.3 --threads 3]

      it "closes the connection after the close timeout: a handler that waits" do
        client = websocket
        send_and_end(client, ["wait"], finish)
        event(:message, client)
        expect(client.read_close.first).to eq(code) unless code == 1006
        client.connection.finish_writing unless code == 1006
        expect(client.ending).to eq(:fin)
        expect(ask(client, "[client.open?, client.write('late')]")).to eq([false, false])
        expect(story(client)).to eq(%i[open message])
        app.ask("GATE << true; nil")
        event(:close, client, code: code)
      end

      it "closes the connection after the close timeout: a handler that keeps writing" do
        client = websocket
        send_and_end(client, ["forever"], finish)
        frames = []
        begin
          loop { frames << client.read_frame.then { |it| [it.opcode, it.close_code] } }
        rescue RawConnection::Ended
          nil
        end
        expect(frames.size).to be > 1
        expect(frames.last).to eq([:close, code]) unless code == 1006
        event(:close, client, code: code)
      end
    end

    context "by #{title}, while the server stops," do
      it "is reported to on_close as at other times" do
        start_app(config, *%w[--close-timeout 3600 --threads 2])
        client = websocket
        send_and_end(client, ["wait"], finish)
        event(:message, client)
        eventually("the end to be noticed") { !ask(client, "client.subscribe('a-#{rand}')") }
        stopping = Thread.new { app.stop }
        eventually("connections to be refused") { !accepting_connections? }
        app.ask("GATE << true; nil")
        expect(client.read_message).to eq("wait")
        expect(client.read_close.first).to eq(code) unless code == 1006
        client.connection.finish_writing unless code == 1006
        expect(client.ending).to eq(:fin)
        expect(stopping.value).to be_success
        event(:close, client, code: code)
      end
    end
  end

  describe "of an event stream instead" do
    serve config, *%w[--close-timeout 3600 --threads 2]

    it "ends the stream at once, because there can be no messages" do
      client = opened(sse)
      client.connection.finish_writing
      event(:close, client, code: nil)
      expect(client.ending).to eq(:fin)
    end
  end
end
