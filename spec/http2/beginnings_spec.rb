# frozen_string_literal: true

require "spec_helper"

# How a connection begins with HTTP/2 (RFC 9113 section 3.4): by prior knowledge, also over TLS and Unix sockets, and behind a PROXY
# header; in pieces; and what begins almost like it.
RSpec.describe "The beginning of HTTP/2" do
  config = <<~'CONFIG'
    require "spec_app"

    run ->(env) { [200, {}, [env.values_at("SERVER_PROTOCOL", "REMOTE_ADDR").join(" ")]] }
  CONFIG

  preface = Http2Client::PREFACE
  request = Hpack.encode({ ":method" => "GET", ":scheme" => "http", ":authority" => "a", ":path" => "/" })
  beginning = preface + Http2Client.encode(:settings) +
              Http2Client.encode(:headers, request, flags: Http2Client::END_HEADERS | Http2Client::END_STREAM, stream: 1)

  def client(address = app.address) = closing(Http2Client.new(address, begins: false))

  # Sends bytes and waits until the server has read them.
  def write(one, bytes)
    before = app.ask("PushServer.stats[:bytes_in]")
    one.connection.write(bytes)
    expect_eventually("the server to read") { app.ask("PushServer.stats[:bytes_in]") > before }
  end

  shared_examples "a beginning" do
    it "may come in two pieces, cut anywhere" do
      (1..(preface.bytesize + 12)).each do |cut|
        one = client(address)
        write(one, beginning.byteslice(0, cut))
        one.connection.write(beginning.byteslice(cut..))
        expect(one.read_response(1).body).to start_with("HTTP/2 ")
      end
    end

    it "may come byte by byte" do
      one = client(address)
      beginning.each_char { |byte| one.connection.write(byte) }
      expect(one.read_response(1).body).to start_with("HTTP/2 ")
    end

    it "is not HTTP/2 if a byte of the preface differs" do
      preface.bytesize.times do |index|
        wrong = beginning.dup.tap { |bytes| bytes.setbyte(index, bytes.getbyte(index) ^ 1) }
        one = client(address)
        one.connection.write(wrong).finish_writing
        expect(one.connection.read_to_end).not_to include("HTTP/2 ")
      end
      one = client(address)
      one.connection.write(beginning)
      expect(one.read_response(1).status).to eq(200)
    end
  end

  context "over TCP", transport: :tcp do
    serve config
    let(:address) { app.address }

    it_behaves_like "a beginning"
  end

  context "over a Unix socket", transport: :unix do
    serve config
    let(:address) { app.address }

    it_behaves_like "a beginning"
  end

  context "over TLS", transport: :tls do
    serve config

    { "to a client that has chosen it" => %w[h2], "to a client that has chosen HTTP/1.1" => %w[http/1.1],
      "to a client that cannot choose" => nil }.each do |whom, protocols|
      context whom do
        let(:address) { protocols ? app.address.with(alpn_protocols: protocols) : app.address }

        it_behaves_like "a beginning"
      end
    end
  end

  context "behind a PROXY header", transport: :tcp do
    serve config, "--trusted-proxy", "127.0.0.1", "--proxy-protocol"

    header = "\r\n\r\n\0\r\nQUIT\n".b + [0x21, 0x11, 12, 203, 0, 113, 9, 192, 0, 2, 1, 4711, 80].pack("CCnC8nn")

    it "tells the app of the client's address, wherever it is cut" do
      (1..(header.bytesize + preface.bytesize)).step(5) do |cut|
        one = client
        one.connection.write((header + beginning).byteslice(0, cut))
        app.ask("nil")
        one.connection.write((header + beginning).byteslice(cut..))
        expect(one.read_response(1).body).to eq("HTTP/2 203.0.113.9")
      end
    end
  end
end
