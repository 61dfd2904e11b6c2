# frozen_string_literal: true

require "spec_helper"

# The bytes of an event stream (HTML standard, section 9.2).
RSpec.describe "An event stream" do
  config = <<~'CONFIG'
    require "spec_app"

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = SpecApp::Recorder.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  # An event stream whose `retry:` has been read.
  def stream(...) = opened(sse(...)).tap(&:read_retry)

  # The event that is sent when the app calls client.write with these arguments.
  def sent(code, client = stream)
    expect(ask(client, "client.write(#{code})")).to be(true)
    client.read_event
  end

  context "by default" do
    serve config, "--retry-min", "1500", "--retry-max", "2500"

    describe "in its head" do
      it "says that it is an event stream, which caches and proxies must not hold back" do
        response = stream.response
        expect(response).to have_attributes(version: Transport.http_version, status: 200)
        expect(response["content-type"]).to eq("text/event-stream; charset=utf-8")
        expect(response["cache-control"]).to eq("no-cache, no-store")
        expect(response["x-accel-buffering"]).to eq("no")
      end

      it "says that the body ends with the connection" do
        response = stream.response
        expect(response["connection"]).to eq("close")
        expect(response.headers.keys).not_to include("content-length", "transfer-encoding")
      end
    end

    it "begins with `retry:` in milliseconds, which differs among clients" do
      lines = Array.new(10) { sse.read_line }
      expect(lines).to all(match(/\Aretry: \d+\z/))
      retries = lines.map { |line| Integer(line[/\d+/], 10) }
      expect(retries).to all(be_between(1500, 2500))
      expect(retries.uniq.size).to be > 1
    end

    # Some clients dispatch an event at each empty line.
    it "has no empty line after `retry:`" do
      client = opened(sse)
      ask(client, 'client.write("x"); client.close; nil')
      expect(client.read_to_end).to match(/\Aretry: \d+\nevent: msg\ndata: x\n\n\z/)
    end

    describe "in its data" do
      # What is written => the lines that are sent.
      {
        "a" => ["a"],
        "" => [""],
        "a\nb" => %w[a b],
        "a\r\nb" => %w[a b],
        "a\rb" => %w[a b],
        "a\n" => ["a", ""],
        "a\r\n" => ["a", ""],
        "a\r" => ["a", ""],
        "\na" => ["", "a"],
        "\n" => ["", ""],
        "\r\n" => ["", ""],
        "\n\r" => ["", "", ""],
        "\n\n" => ["", "", ""],
        "a\n\nb" => ["a", "", "b"],
        "a\r\rb" => ["a", "", "b"],
        "a\r\n\r\nb" => ["a", "", "b"],
        "a\r\n\n\rb" => ["a", "", "", "b"],
        " leading" => [" leading"],
        "  two" => ["  two"],
        ": no comment" => [": no comment"],
        "data: no field" => ["data: no field"],
        "x\nevent: y\nid: z\nretry: 1" => ["x", "event: y", "id: z", "retry: 1"],
        "x\n\ndata: injected" => ["x", "", "data: injected"],
        "tab\tand\u0000nul" => ["tab\tand\u0000nul"],
        "\uFEFFbyte order mark" => ["\uFEFFbyte order mark"],
        "line\u2028separator\u0085and\vtab\fand feed" => ["line\u2028separator\u0085and\vtab\fand feed"],
        "grüße 😀\nzwei" => ["grüße 😀", "zwei"]
      }.each do |text, lines|
        it "sends #{text.inspect} as #{lines}" do
          block = sent(text.inspect)
          expect(block.lines.filter_map { |line| line[/\Adata: ?(.*)/m, 1] if line.start_with?("data") }).to eq(lines)
          expect(block).to have_attributes(event: "msg", data: lines.join("\n"), id: nil, retry: nil, comments: [])
        end
      end

      it "sends large data of many lines" do
        lines = Array.new(20_000) { |number| "line #{number}" }
        expect(sent('Array.new(20_000) { |number| "line #{number}" }.join("\n")').data).to eq(lines.join("\n"))
      end
    end

    describe "in its fields" do
      it "has the event's name, its ID and the time to retry" do
        expect(sent('"x", event: "tick", id: "42", retry: 3000'))
          .to have_attributes(event: "tick", id: "42", retry: 3000, data: "x")
      end

      it "has those that the app gives, and 'msg' as the name by default" do
        client = stream
        expect(sent('"x", event: "tick"', client)).to have_attributes(event: "tick", id: nil, retry: nil)
        expect(sent('"x", id: "a b"', client)).to have_attributes(event: "msg", id: "a b", retry: nil)
        expect(sent('"x", retry: 0', client)).to have_attributes(event: "msg", id: nil, retry: 0)
        expect(sent('"x"', client)).to have_attributes(event: "msg", id: nil, retry: nil)
      end

      it "can have an empty ID, which resets the browser's" do
        expect(sent('"x", id: ""').id).to eq("")
      end

      it "has no name with event: nil" do
        expect(sent('"x", event: nil')).to have_attributes(event: nil, data: "x")
      end

      %w[event id].product(["a\nb", "a\rb", "a\r\nb", "\n", "a\0b"]).each do |field, value|
        it "cannot have #{value.inspect} as #{field}: write raises ArgumentError" do
          client = stream
          expect { ask(client, "client.write('x', #{field}: #{value.dump})") }.to raise_in_app("ArgumentError")
          expect(sent('"still fine"', client).data).to eq("still fine")
        end
      end

      ["-1", "1.5", '"5"', ":soon"].each do |value|
        it "cannot have #{value} as retry: write raises an error" do
          expect { ask(stream, "client.write('x', retry: #{value})") }.to raise_in_app("ArgumentError|TypeError")
        end
      end

      it "has no other fields: write raises ArgumentError" do
        expect { ask(stream, "client.write('x', name: 'y')") }.to raise_in_app("ArgumentError")
      end
    end

    describe "after a reconnect" do
      it "has the Last-Event-ID in the env" do
        client = stream("/", headers: { "last-event-id" => "7" })
        expect(ask(client, 'client.env["HTTP_LAST_EVENT_ID"]')).to eq("7")
      end
    end

    describe "at its end" do
      it "calls on_close when the client closes, without waiting for a write" do
        client = stream
        client.close
        expect_event(:close, client, code: nil, reason: nil)
      end

      it "calls on_close when the client resets the connection" do
        client = stream
        client.reset
        expect_event(:close, client, code: nil, reason: nil)
      end

      it "ends the body when the app closes" do
        client = stream
        ask(client, 'client.write("last"); client.close; nil')
        expect(client.read_event.data).to eq("last")
        expect(client.ending).to eq(:fin)
        event(:close, client, code: nil, reason: nil)
      end
    end

    it "works over HTTP/1.0" do
      client = stream("/", version: "1.0")
      expect(client).to be_accepted
      expect(client.response.headers.keys).not_to include("transfer-encoding")
      expect(sent('"a\nb"', client)).to have_attributes(event: "msg", data: "a\nb")
      ask(client, "client.close; nil")
      expect(client.ending).to eq(:fin)
    end
  end

  context "with --sse-heartbeat" do
    serve config, "--sse-heartbeat", "0.1"

    it "sends comments while nothing else is sent" do
      client = stream
      expect(Array.new(3) { client.read_line }).to eq([":"] * 3)
      expect(sent('"x"', client).data).to eq("x")
      expect(client.read_comment).to eq("")
    end

    it "sends comments without empty lines, also between events" do
      client = stream
      client.read_comment
      ask(client, 'client.write("one")')
      first = client.connection.read_until("data: one\n\n")
      client.read_comment
      ask(client, 'client.write("two"); client.close; nil')
      expect(first).to match(/\A(:\n)*event: msg\ndata: one\n\n\z/)
      expect(client.read_to_end).to match(/\A(:\n)*event: msg\ndata: two\n\n\z/)
    end
  end

  context "with --sse-event NAME" do
    serve config, "--sse-event", "tick"

    it "gives this name to events without a name" do
      client = stream
      expect(sent('"x"', client).event).to eq("tick")
      expect(sent('"x", event: "other"', client).event).to eq("other")
      expect(sent('"x", event: nil', client).event).to be_nil
    end
  end

  context "with an empty --sse-event" do
    serve config, "--sse-event", ""

    it "sends events without a name, for EventSource#onmessage" do
      client = stream
      expect(sent('"x"', client).event).to be_nil
      expect(sent('"x", event: "named"', client).event).to eq("named")
    end
  end
end
