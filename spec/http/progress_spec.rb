# frozen_string_literal: true

require "spec_helper"

# A deadline ends when what it waits for has come. A long response must not be counted as a delay, and must not disturb others.
# An example knows that a deadline has passed when a later one on another connection has.
RSpec.describe "A long response" do
  serve <<~'CONFIG', *%w[--threads 2 --public public --body-timeout 0.5 --keep-alive-timeout 1], files: {
    require "spec_app"

    # Sparse, so that it needs no space. It cannot be read to its end within any deadline here.
    File.open("public/endless.bin", "wb") { |file| file.truncate(1 << 40) }
    GATE = Queue.new

    class Each
      def each
        yield "first"
        GATE.pop
        yield "second"
      end
    end

    call = lambda do |stream|
      stream.write("first")
      GATE.pop
      stream.write("second")
    ensure
      stream.close
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/each" then [200, {}, Each.new]
      when "/each-length" then [200, { "content-length" => "11" }, Each.new]
      when "/call" then [200, {}, call]
      else [200, {}, ["answered"]]
      end
    end)
  CONFIG
    "public/empty" => ""
  }

  # A file that is still sent after the deadline of the request's body, and read as fast as it comes.
  describe "to a request whose body does not come" do
    def download
      client = http(receive_buffer: 4_000_000)
      client.send_request("GET", "/endless.bin", { "content-length" => "5" })
      expect(client.read_head.status).to eq(200)
      reader = Thread.new do
        IO.copy_stream(client.connection.socket, File::NULL)
      rescue Errno::ECONNRESET
        nil # The shutdown below may cause this.
      end
      yield reader
    ensure
      client.connection.socket.shutdown
      reader&.join
    end

    it "goes on, and does not disturb other requests" do
      download do |reader|
        slow = http.send_request("POST", "/", { "content-length" => "5" })
        expect(slow.read_response.status).to eq(408)
        10.times { expect(get("/").body).to eq("answered") }
        expect(reader).to be_alive
      end
    end
  end

  describe "for longer than keep_alive_timeout" do
    # Waits until a connection that becomes idle now has been closed.
    def outlast_keep_alive
      idle = http
      idle.get("/")
      expect(idle.connection.read_to_end).to eq("")
    end

    { "/each" => "a body with each", "/each-length" => "a body with each of known length",
      "/call" => "a body that is called with a stream" }.each do |path, what|
      it "is not cut off, and the connection stays open afterwards: #{what}" do
        client = http
        client.send_request("GET", path)
        expect(client.read_head.status).to eq(200)
        client.connection.read_until("first")
        outlast_keep_alive
        app.ask("GATE << true; nil")
        client.connection.read_until(path == "/each-length" ? "second" : "second\r\n0\r\n\r\n")
        expect(client.get("/").body).to eq("answered")
      end
    end
  end
end
