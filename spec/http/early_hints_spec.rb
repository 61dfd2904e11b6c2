# frozen_string_literal: true

require "spec_helper"

# rack.early_hints: a 103 (RFC 8297) comes before its own response, of any kind.
RSpec.describe "A 103 Early Hints" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    Each = Struct.new(:parts) do
      def each(&) = parts.each(&)
    end

    handler = SpecApp::Recorder.new(open: ->(client) { client.write("hello") })
    run(lambda do |env|
      env["rack.early_hints"].call("link" => "</#{env["QUERY_STRING"]}.css>; rel=preload")
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      case env["PATH_INFO"]
      when "/raise" then raise "after the hint"
      when "/each" then [200, {}, Each.new([env["QUERY_STRING"]])]
      when "/hijack"
        io = env["rack.hijack"].call
        io.write("HTTP/1.1 299 Hijacked\r\ncontent-length: 0\r\n\r\n")
        io.close
        [-1, {}, []]
      else [200, {}, [env["QUERY_STRING"]]]
      end
    end)
  CONFIG

  def expect_hint(client, name)
    expect(client.read_response(interim: true)).to have_attributes(status: 103, headers: { "link" => ["</#{name}.css>; rel=preload"] })
  end

  %w[/ /each].each do |path|
    it "comes before a response that follows at once, on one connection: #{path}" do
      client = http
      300.times do |number|
        client.send_request("GET", "#{path}?#{number}")
        expect_hint(client, number)
        expect(client.read_response(interim: true)).to have_attributes(status: 200, body: number.to_s)
      end
    end

    it "comes before a response that follows at once, on new connections: #{path}" do
      100.times do |number|
        client = http
        client.send_request("GET", "#{path}?#{number}", { "connection" => "close" })
        expect_hint(client, number)
        expect(client.read_response(interim: true)).to have_attributes(status: 200, body: number.to_s)
        expect(client.connection.read_to_end).to eq("")
      end
    end
  end

  it "comes before the 500 if the app raises" do
    client = http.send_request("GET", "/raise?x")
    expect_hint(client, "x")
    expect(client.read_response(interim: true).status).to eq(500)
  end

  # While an earlier response is not written yet, a hint may be left out, but never out of order.
  it "never comes within or after a response when requests are pipelined" do
    client = http
    client.write((0...200).map { |number| "GET /?#{number} HTTP/1.1\r\nhost: x\r\n\r\n" }.join)
    200.times do |number|
      response = client.read_response(interim: true)
      if response.status == 103
        expect(response["link"]).to start_with("</#{number}.css>")
        response = client.read_response(interim: true)
      end
      expect(response).to have_attributes(status: 200, body: number.to_s)
    end
  end

  it "comes before an upgrade" do
    50.times do |number|
      client = http.send_request("GET", "/?ws#{number}", WebSocketClient.handshake)
      expect_hint(client, "ws#{number}")
      expect(client.read_response(interim: true).status).to eq(101)
      expect(WebSocketFrame.read(client.connection).payload).to eq("hello")
      client.close
    end
  end

  it "comes before what the app writes to a hijacked connection" do
    50.times do |number|
      client = http.send_request("GET", "/hijack?#{number}")
      expect_hint(client, number)
      expect(client.connection.read_to_end).to start_with("HTTP/1.1 299 Hijacked\r\n")
    end
  end
end
