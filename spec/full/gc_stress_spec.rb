# frozen_string_literal: true

require "spec_helper"

# A garbage collection at every allocation, and then also objects that move. An object that the extension refers to without
# marking it is soon collected, and one without pinning it is soon somewhere else.
RSpec.describe "The extension under GC.stress", :full do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"
    require "tempfile"

    FILE = Tempfile.new.tap { |file| file.write("line\n" * 1000); file.flush }
    FINISHED = Queue.new

    class Parts
      def each = 5.times { |number| yield "part #{number}\n" * (number + 1) }
      def close = FINISHED << "closed"
    end

    class Sent
      def to_path = FILE.path
      def each = yield(File.read(FILE.path))
    end

    # Calls every method of a client, and checks what it has stored.
    class Everything
      def on_open(client)
        client[:opened] = "at #{client.env["QUERY_STRING"]}"
        client.timeout = 30
        client.write("text é #{client.protocol} #{client.last_event_id.inspect}")
        client.write("\xff\x00".b) if client.protocol == :websocket
        client.write("two\nlines", event: "tick", id: "7", retry: 500)
      end

      def on_message(client, data)
        client.write([client[:opened], client.open?, client.pending.class, data, client.env["PATH_INFO"]].join(" "))
        client.handler = Farewell.new if data == "swap"
        client.close(4001, "bye é") if data == "close"
      end

      def on_close(client, code, reason)
        SpecApp.report("close", client, code: code, reason: reason, kept: client[:opened])
      end
    end

    class Farewell < Everything
      def on_open(client) = client.write("swapped")
    end

    PushServer.channel "kept-*", history: 20, presence: true
    PushServer.channel "short-*", history: 2, ttl: nil, slow: :drop

    # All about channels. Only the extension refers to the handlers of a subscription.
    class Subscriber
      def on_open(client)
        SpecApp.remember(client)
        name = client.env["PATH_INFO"].delete_prefix("/channels/")
        client.subscribe("kept-#{name}", member: "ana é", info: { name: "Ana", at: [1, nil] })
        client.subscribe("short-#{name}")
        client.subscribe("call-#{name}") { |channel, data| client.write("#{channel} #{data} #{data.encoding}", event: "called") }
        client.subscribe(to: "call-#{name}*", match: :redis, as: :binary, handler: ->(*all) { SpecApp.report("pattern", client, all: all) })
        SpecApp.report("open", client, recovered: client.recovered?.inspect)
      end

      def on_gap(client, channel) = SpecApp.report("gap", client, channel: channel)
      def on_close(client) = SpecApp.report("close", client)
    end

    plain = { "content-type" => "text/plain" }
    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = env["PATH_INFO"].start_with?("/channels") ? Subscriber.new : Everything.new
        next [200, { "x-upgraded" => "yes", "set-cookie" => %w[a=1 b=2] }, []]
      end

      finished = ->(_env, status, _headers, error) { FINISHED << [status, error&.message].inspect }
      (env["rack.response_finished"] ||= []) << finished
      case env["PATH_INFO"]
      when "/env" then [200, plain, [JSON.generate(env.select { |_, value| value.is_a?(String) })]]
      when "/array" then [200, plain.merge("x-many" => %w[one two]), Array.new(20) { |number| "#{number}\n" }]
      when "/each" then [200, plain, Parts.new]
      when "/call" then [200, plain, ->(stream) { 5.times { |number| stream << "part #{number}\n" }; stream.close }]
      when "/file" then [200, plain, Sent.new]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\nconnection: close\r\n\r\nhijacked")
        io.close
        [-1, {}, []]
      when "/partial"
        hijack = ->(io) { io.write("partially hijacked"); io.close }
        [200, plain.merge("rack.hijack" => hijack), []]
      when "/upload"
        input = env["rack.input"]
        first, rest = input.gets, input.read
        input.rewind
        again = 0
        input.each { |line| again += line.bytesize }
        [200, plain, [first, (first.bytesize + rest.bytesize).to_s, " ", again.to_s]]
      else raise "boom #{env["PATH_INFO"]}"
      end
    end)
  CONFIG

  compacting = { "" => "false", ", with objects that move" => "true" }
  compacting.each do |title, moving|
    context "at every allocation#{title}" do
      around do |example|
        # Only once, because it doubles the heap.
        app.ask("$moved ||= begin; #{Compaction::VERIFY}; true; end", seconds: 60) if moving == "true" && !Compaction.missing
        app.ask("GC.auto_compact = #{moving}; GC.stress = true; nil", seconds: 60)
        example.run
      ensure
        app.ask("GC.stress = false; GC.auto_compact = false; nil", seconds: 60) if app.running?
      end

      before { skip "This Ruby cannot compact" if moving == "true" && !GC.respond_to?(:compact) }

      def finished = app.ask("FINISHED.pop", seconds: 60)

      it "makes the env of requests" do
        client = http
        3.times do |number|
          env = JSON.parse(client.get("/env?#{number}", { "x-several" => %w[one two], "cookie" => %w[a=1 b=2] }).body)
          expect(env).to include("REQUEST_METHOD" => "GET", "PATH_INFO" => "/env", "QUERY_STRING" => number.to_s,
                                 "HTTP_X_SEVERAL" => "one, two", "HTTP_COOKIE" => "a=1; b=2",
                                 "HTTP_HOST" => "localhost", "SERVER_PROTOCOL" => "HTTP/1.1")
        end
      end

      it "sends responses of all kinds: Arrays, each, call, files, errors" do
        app.ask("FINISHED.clear; nil", seconds: 60)
        client = http
        array = client.get("/array")
        expect(array.body).to eq((0..19).map { |number| "#{number}\n" }.join)
        expect(array.all("x-many")).to eq(%w[one two])
        expect(finished).to eq("[200, nil]")
        expect(client.get("/each").body).to eq((0..4).map { |number| "part #{number}\n" * (number + 1) }.join)
        expect([finished, finished]).to contain_exactly("closed", "[200, nil]")
        expect(client.get("/call").body).to eq((0..4).map { |number| "part #{number}\n" }.join)
        expect(client.get("/file").body).to eq("line\n" * 1000)
        expect(client.get("/boom").status).to eq(500)
      end

      it "accepts uploads in memory and in files" do
        client = http
        [50, 30_000].each do |length|
          line = "#{"x" * length}\n"
          response = client.request("POST", "/upload", body: line * 10)
          expect(response.body).to eq("#{line}#{10 * line.bytesize} #{10 * line.bytesize}")
        end
      end

      it "lets the app hijack connections" do
        expect(get("/hijack").body).to eq("hijacked")
        expect(get("/partial").body).to end_with("partially hijacked")
      end

      it "serves WebSockets" do
        client = websocket
        expect(client.response["x-upgraded"]).to eq("yes")
        expect(client.response.all("set-cookie")).to eq(%w[a=1 b=2])
        expect(Array.new(3) { client.read_message }).to eq(["text é websocket nil", "\xff\x00".b, "two\nlines"])
        client.text("grüße")
        expect(client.read_message).to eq("at #{client.id} true Integer grüße /")
        client.text("swap")
        expect(client.read_message).to end_with(" swap /")
        expect(client.read_message).to eq("swapped")
        expect(event(:close, client, code: nil)).to include(kept: "at #{client.id}")
        client.text("close")
        expect(client.read_close).to eq([4001, "bye é"])
        client.send_close(4001)
        expect(event(:close, client, code: 4001)).to include(reason: "bye é", kept: "at #{client.id}")
      end

      describe "channels" do
        include ChannelClients

        let(:name) { Serving.next_name }

        # Publishes messages of all kinds to the channel; returns the ID of the last.
        def publish_all
          app.ask(<<~RUBY, seconds: 60)
            PushServer.publish("kept-#{name}", "text é")
            PushServer.publish("kept-#{name}", "two\nlines", event: nil)
            PushServer.publish("kept-#{name}", { "a" => [1, nil, "é"], b: { c: 1.5 } }, event: "said")
            PushServer.publish("kept-#{name}", [0, 255].pack("C*"), store: false)
            PushServer.publish("kept-#{name}", 5)
          RUBY
        end

        def subscribed(kind, **options)
          client = unopened(kind, "channels/#{name}", **options)
          event(:open, client, seconds: 60)
          client
        end

        # The next messages except notices of presence.
        def read_messages(client, count)
          messages = []
          while messages.size < count
            block = client.read_event(seconds: 60)
            messages << [block.event, block.data] unless block.event&.match?(/\Apush\.(open|here|join|leave)/)
          end
          messages
        end

        published = [["msg", "text é"], [nil, "two\nlines"], ["said", '{"a":[1,null,"é"],"b":{"c":1.5}}'], ["push.binary", "AP8="], %w[msg 5]]

        it "bring messages of all kinds" do
          streams = [SseClient, PushV1Client].map { |kind| subscribed(kind) }
          socket = subscribed(WebSocketClient)
          publish_all
          expect(streams.map { |client| read_messages(client, 5) }).to eq([published, published])
          expect(Array.new(5) { socket.read_message(seconds: 60) })
            .to eq(["text é", "two\nlines", '{"a":[1,null,"é"],"b":{"c":1.5}}', "\x00\xFF".b, "5"])
          ask(streams.first, "client.publish('kept-#{name}', 'from a client'); PushServer.publish('kept-#{name}', 'others', except: client)", seconds: 60)
          expect(streams.map { |client| read_messages(client, 1) }.flatten).to eq(["msg", "from a client"] * 2)
          expect(read_messages(streams.last, 1)).to eq([%w[msg others]])
        end

        it "call blocks and handlers" do
          client = subscribed(SseClient)
          app.ask("GC.start; ['1', 'é', 'b'.b].each { |data| PushServer.publish('call-#{name}', data) }; nil", seconds: 60)
          expect(read_messages(client, 3).map(&:last)).to eq(["call-#{name} 1 UTF-8", "call-#{name} é UTF-8", "call-#{name} b ASCII-8BIT"])
          expect(Array.new(2) { event(:pattern, client, seconds: 60)[:all] }).to eq([["call-#{name}", "1"], ["call-#{name}", "é"]])
          expect(ask(client, "[client.unsubscribe('call-#{name}'), client.unsubscribe(to: 'call-#{name}*', match: :redis)]", seconds: 60)).to eq([true, true])
        end

        it "replay, keep a history, and announce gaps" do
          cursor = publish_all
          app.ask("4.times { |number| PushServer.publish('short-#{name}', number.to_s) }; PushServer.publish('kept-#{name}', 'missed'); nil", seconds: 60)
          client = subscribed(PushV1Client, since: cursor)
          expect(JSON.parse(client.read_event(seconds: 60).data)).to eq("recovered" => false, "gap" => ["short-#{name}"])
          event(:gap, client, channel: "short-#{name}", seconds: 60)
          expect(read_messages(client, 1)).to eq([%w[msg missed]])
          kept = app.ask("PushServer.history('kept-#{name}', limit: 4).map { |it| [it.event, it.data, it.id.class.name] }", seconds: 60)
          # The default name is nil there.
          expect(kept).to eq([[nil, "two\nlines"], published[2], [nil, "5"], [nil, "missed"]].map { |message| [*message, "String"] })
        end

        it "list members, and disconnect them" do
          client = subscribed(SseClient)
          expect(app.ask("[PushServer.present('kept-#{name}'), PushServer.channels.grep(/kept-#{name}/)]", seconds: 60))
            .to eq([{ "ana é": { name: "Ana", at: [1, nil] } }, ["kept-#{name}"]])
          expect(app.ask("PushServer.disconnect(member: 'ana é')", seconds: 60)).to be >= 1
          nil until client.read_event(seconds: 60).event == "push.bye"
          event(:close, client, seconds: 60)
        end
      end

      it "serves event streams" do
        client = sse(headers: { "last-event-id" => "6" })
        expect(client.read_event.data).to eq('text é sse "6"')
        expect(client.read_event).to have_attributes(event: "tick", id: "7", data: "two\nlines", retry: 500)
        client.close
        expect(event(:close, client)).to include(kept: "at #{client.id}")
      end
    end
  end
end
