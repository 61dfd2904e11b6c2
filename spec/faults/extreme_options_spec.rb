# frozen_string_literal: true

require "spec_helper"
require "push_server"

# Any number given to an option leads to a clear line before the server starts, or to a server that works.
RSpec.describe "An extreme value" do
  include Command

  numbers = PushServer::Options::TABLE.values.select { |option| %i[bytes count milliseconds port seconds].include?(option.type) }
  limits = PushServer.const_get(:NativeServer)::LIMITS.to_h { |row| [row[:name], row] }
  huge = 10**30

  describe "of an option" do
    extreme = [-huge, -1, 0, 1, 65_535, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1, 2**64, huge, "9" * 400, -0.5, 0.5, 1e300,
              Float::INFINITY, -Float::INFINITY, Float::NAN, "NaN", "inf", "1e309", "0x10", "1 2", " ", true, [], {}]

    numbers.each do |option|
      it "is refused in one line, or within the bounds: #{option.name}" do
        extreme.each do |value|
          number = PushServer::Options.new({ option.name => value }, env: {})[option.name]
          # The same bounds hold in the core.
          PushServer.const_get(:NativeServer).new(->(_) {}, option.name => number) if limits.key?(option.name)
          row = limits.fetch(option.name, { least: 0, most: nil })
          expect(number).to be_between(row[:least], row[:most] || Float::INFINITY) unless option.type == :port
        rescue PushServer::OptionError => e
          expect(e.message).to match(/\A#{option.name}: cannot be .+: give .*number.*\z/)
        end
      end
    end

    it "is also refused by the core, which has the same bounds" do
      limits.each_value do |row|
        too_much = [row[:least] - 1, row[:most]&.succ, Float::NAN, Float::INFINITY].compact
        too_much.each do |value|
          expect { PushServer.const_get(:NativeServer).new(->(_) {}, row[:name] => value) }
            .to raise_error(ArgumentError, /\A#{row[:name]} must be (at least|from) .+, not .+\z/), "#{row[:name]} #{value}"
        end
      end
    end

    it "is named as the user has given it: on the command line, in the environment" do
      result = push_server("--max-headers", huge)
      expect(result.complaint).to eq(["push_server: --max-headers cannot be \"#{huge}\": give a whole number, from 1 to 10000"])
      result = push_server(env: { "RAILS_MAX_THREADS" => "0" })
      expect(result.complaint).to eq(["push_server: $RAILS_MAX_THREADS cannot be \"0\": give a whole number, from 1 to 1000"])
      result = push_server("--head-timeout", "off")
      expect(result.complaint).to eq(["push_server: --head-timeout cannot be \"off\": give a number of seconds, 0.01 or more"])
    end
  end

  source = <<~'CONFIG'
    require "push_server"
    require "spec_app"

    PushServer.channel "kept", history: 10
    handler = SpecApp::Recorder.new(
      open: ->(client) { client.subscribe("kept") },
      message: ->(client, data) { client.write("echo: #{data}") }
    )
    run(lambda do |env|
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, {}, [env.count { |name, _| name.start_with?("HTTP_X_") }.to_s, env["rack.input"].read.bytesize.to_s]]
    end)
  CONFIG

  # Switches for all numeric options with the value that the block returns. nil leaves an option out.
  switches = lambda do |&value|
    numbers.reject { |option| option.switches.empty? || option.type == :port }.flat_map do |option|
      number = value.call(option)
      number ? [option.switches.last, number.to_s] : []
    end
  end

  # Sends one request on a connection, and closes the connection, because the server may accept only one.
  def ask(method, target, headers = {}, **options)
    client = http
    client.request(method, target, headers, **options)
  ensure
    client.close
  end

  def post(bytes) = ask("POST", "/", body: "x" * bytes)

  describe "that is the highest allowed" do
    serve source, *switches.call { |option| limits.dig(option.name, :most) || (option.name == :threads ? 1000 : huge) }

    it "makes a server that accepts large requests" do
      expect(ask("GET", "/").body).to eq("00")
      expect(ask("GET", "/#{"x" * 65_000}").status).to eq(200)
      headers = Array.new(9000) { |number| "x-#{number}: a" }
      expect(ask("GET", "/", headers).body).to eq("90000")
      expect(ask("GET", "/", ["x-a: #{"a" * 1_000_000}"]).body).to eq("10")
      expect(post(1_000_000).body).to eq("01000000")
    end

    it "makes a server that pushes, and stops" do
      clients = [websocket, sse]
      clients.each { |client| event(:open, client) }
      expect(clients.first.text("hello").read_message).to eq("echo: hello")
      app.ask('PushServer.publish("kept", "published")')
      expect(clients.first.read_message).to eq("published")
      expect(Array.new(2) { clients.last.read_event.data }.last).to eq("published")
    end
  end

  describe "that is the lowest allowed" do
    # The shortest times are tested below.
    serve source, *switches.call { |option| limits.dig(option.name, :least) unless %i[seconds milliseconds].include?(option.type) }, "--max-headers", "3"

    it "makes a server that refuses what is too large" do
      expect(ask("GET", "/").status).to eq(200)
      expect(ask("GET", "/x").status).to eq(414)
      expect(post(1).status).to eq(413)
      expect(post(0).status).to eq(200)
      expect(ask("GET", "/", Array.new(3) { |number| "x-#{number}: a" }).status).to eq(431)
    end
  end

  describe "that is the shortest time allowed" do
    serve source, *switches.call { |option|
      # Those of processes have a least that is not 0, and mean nothing to one process.
      limits.fetch(option.name, { least: 0 })[:least] if %i[seconds milliseconds].include?(option.type) && option.group != "Processes"
    }

    it "makes a server that disconnects clients, and goes on" do
      20.times do
        http.connection.offer("GET / HTTP/1.1\r\nhost: x\r\n")
        http.connection.offer("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
        handshake = WebSocketClient.handshake.map { |name, value| "#{name}: #{value}\r\n" }.join
        http.connection.offer("GET / HTTP/1.1\r\nhost: x\r\n#{handshake}\r\n")
      end
      @clients.each { |client| expect(client.connection.ending).to eq(:fin).or eq(:reset) }
      stream = http.connection.offer("GET / HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\n\r\n")
      # There is a heartbeat every hundredth of a second, unless the request was too slow.
      expect(stream.read_until("\r\n")).to start_with("HTTP/1.1 200").or start_with("HTTP/1.1 408")
      expect(app).to be_running
    end
  end
end
