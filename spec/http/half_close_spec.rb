# frozen_string_literal: true

require "spec_helper"

# A client that has sent its last request may close its side and still read (RFC 9112 section 9.6).
RSpec.describe "A client" do
  serve <<~'CONFIG', "--threads", "3"
    require "spec_app"

    GATE = Queue.new
    File.binwrite("large.bin", "0123456789" * 1_000_000)

    class Large
      def to_path = File.join(__dir__, "large.bin")
      def each = yield(File.binread(to_path))
    end

    # Yields one part, and then one each time that GATE is opened.
    class Quiet
      def initialize(name)
        @name = name
      end

      def each
        yield "first"
        loop do
          GATE.pop
          yield "tick"
        end
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    quiet_call = lambda do |name|
      lambda do |stream|
        stream.write("first")
        loop do
          GATE.pop
          stream.write("tick")
        end
      ensure
        stream.close
        SpecApp.report(:closed, id: name)
      end
    end

    run(lambda do |env|
      name = env["QUERY_STRING"]
      SpecApp.report(:call, id: name) unless name.empty?
      GATE.pop if env["PATH_INFO"].start_with?("/wait")
      case env["PATH_INFO"]
      when "/large-array", "/wait-large" then [200, {}, ["0123456789" * 1_000_000]]
      when "/large-file" then [200, {}, Large.new]
      when "/each" then [200, {}, Quiet.new(name)]
      when "/call" then [200, {}, quiet_call[name]]
      else [200, {}, ["answered"]]
      end
    end)
  CONFIG

  def name = @name ||= Serving.next_name
  def open_gate = app.ask("GATE << true; nil")

  # Once this is answered, the server has read all that was sent before: it has one reactor.
  def settle
    3.times { expect(get("/").body).to eq("answered") }
  end

  describe "that closes its side after a request" do
    def half_close(path)
      client = http(receive_buffer: 16_384)
      client.send_request("GET", "#{path}?#{name}")
      client.connection.finish_writing
      app.events.take(event: "call", id: name)
      settle
      client
    end

    it "gets the response of a slow app" do
      client = half_close("/wait")
      open_gate
      expect(client.read_response.body).to eq("answered")
      expect(client.connection.ending).to eq(:fin)
    end

    { "/large-array" => "an Array", "/large-file" => "a file" }.each do |path, what|
      it "gets all of a large body: #{what}" do
        client = half_close(path)
        expect(client.read_response.body == "0123456789" * 1_000_000).to be(true)
        expect(client.connection.ending).to eq(:fin)
      end
    end

    it "gets all of a large body of a slow app" do
      client = half_close("/wait-large")
      open_gate
      expect(client.read_response.body == "0123456789" * 1_000_000).to be(true)
      expect(client.connection.ending).to eq(:fin)
    end

    it "gets all responses to pipelined requests" do
      client = http
      client.write(%w[/wait /large-array /].map { |path| "GET #{path}?#{name} HTTP/1.1\r\nhost: x\r\n\r\n" }.join)
      client.connection.finish_writing
      app.events.take(event: "call", id: name)
      settle
      open_gate
      expect(Array.new(3) { client.read_response.body.bytesize }).to eq([8, 10_000_000, 8])
      expect(client.connection.ending).to eq(:fin)
    end
  end

  # Such a body may last for hours. The server must notice the end without a write.
  describe "that disconnects while a streaming body yields nothing" do
    def open_connections = app.ask("PushServer.stats[:open_connections]")

    { "/each" => "each", "/call" => "call" }.each do |path, what|
      it "has its connection closed at once, and the body ends with its next part (#{what})" do
        eventually("no other connection") { open_connections.zero? }
        client = http.send_request("GET", "#{path}?#{name}")
        client.read_head
        client.connection.read_until("first")
        expect(open_connections).to eq(1)
        client.close
        eventually("the connection to be closed") { open_connections.zero? }
        open_gate
        app.events.take(event: "closed", id: name)
      end
    end
  end
end
