# frozen_string_literal: true

require "spec_helper"

# Deadlines end when what they are for has come: a response that lasts is nobody's delay, and stops nobody.
#
# That a deadline has passed is seen from another connection for which it began later.
RSpec.describe "A response that lasts" do
  serve <<~'CONFIG', *%w[--threads 2 --public public --body-timeout 0.5 --keep-alive-timeout 1], files: {
    require "spec_app"

    # Sparse: it takes no room, and cannot be read to its end within any deadline here.
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

  # A file that is sent on after the request's promised body has become overdue, and taken as fast as it comes.
  describe "to a request whose body does not come" do
    def download
      client = http(receive_buffer: 4_000_000)
      client.send_request("GET", "/endless.bin", { "content-length" => "5" })
      expect(client.read_head.status).to eq(200)
      reader = Thread.new do
        IO.copy_stream(client.connection.socket, File::NULL)
      rescue Errno::ECONNRESET
        nil # As the end of it below may be taken.
      end
      yield reader
    ensure
      client.connection.socket.shutdown
      reader&.join
    end

    it "neither stops other requests nor ends" do
      download do |reader|
        slow = http.send_request("POST", "/", { "content-length" => "5" })
        expect(slow.read_response.status).to eq(408)
        10.times { expect(get("/").body).to eq("answered") }
        expect(reader).to be_alive
      end
    end
  end

  describe "for longer than keep_alive_timeout" do
    # A connection that became idle now has been closed for it.
    def outlast_keep_alive
      idle = http
      idle.get("/")
      expect(idle.connection.read_to_end).to eq("")
    end

    { "/each" => "a body with each", "/each-length" => "a body with each of known length",
      "/call" => "a body that is called with a stream" }.each do |path, what|
      it "is not idle, and leaves a connection that is kept: #{what}" do
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
