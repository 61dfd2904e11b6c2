# frozen_string_literal: true

require "spec_helper"

# Bodies of Rack 3 that are called with a stream.
RSpec.describe "A body that responds to call" do
  include StreamingBodies

  before { skip "streaming bodies came with Rack 3" if Rack.release < "3" }

  {
    "as it is" => StreamingBodies::APP,
    "behind Rack::Lint" => StreamingBodies::LINTED_APP
  }.each do |title, source|
    context title do
      serve source, "--threads", "2"

      it "has a stream that reads and writes, and can be closed for either or both" do
        response = http.request("POST", "/methods#{named}", { "content-type" => "text/plain" }, body: "abcdef")
        expect(response).to have_attributes(status: 200, framing: :chunked, body: "one two three four")
        expect(told("methods")).to include(read: %w[abc def], open: false, wrote: 6, half: ["IOError", false], closed: true,
                                           late: ["IOError", "IOError", nil])
        expect_closed_once
      end

      it "has a stream that other threads can use after the call, which occupies no thread" do
        clients = Array.new(5) { http.send_request("GET", "/thread#{named}") }
        5.times { app.events.take(event: "closed", id: /./) }
        clients.each { |client| expect(client.read_head.status).to eq(200) }
        expect(get("/").body).to eq("plain")
        expect_threads(2)
        app.ask("5.times { GATE << true }; nil")
        clients.each { |client| expect(client.connection.read_until("0\r\n\r\n")).to include("from another thread") }
        5.times { app.events.take(event: "written") }
      end
    end
  end

  describe "of any kind" do
    serve StreamingBodies::APP, "--threads", "2"

    after { expect_threads(2) }

    it "is closed once" do
      { "/call-close" => "done", "/call-nothing" => "", "/call-twice" => "" }.each do |path, text|
        expect(get(path + named).body).to eq(text)
        expect_closed_once
      end
    end

    it "can be a lambda, and can have a content-length" do
      expect(get("/call-lambda").body).to eq("a lambda")
      expect(get("/call-length")).to have_attributes(framing: :length, body: "12345")
    end

    it "ends with the connection over HTTP/1.0" do
      expect(get("/call-lambda", {}, version: "1.0")).to have_attributes(framing: :close, body: "a lambda")
    end

    it "is closed without a call for HEAD" do
      response = http.request("HEAD", "/call-head#{named}")
      expect(response.status).to eq(200)
      expect_closed_once
      expect(app.events.all(event: "called", id: @name)).to be_empty
    end

    it "leaves the response incomplete when it raises, which is logged, and is closed once" do
      client = http
      client.send_request("GET", "/call-raise#{named}")
      expect(client.read_head.status).to eq(200)
      expect(client.connection.read_to_end).not_to end_with("0\r\n\r\n")
      app.wait_for_line(/the stream failed/)
      expect_closed_once
    end

    it "is sent whole when it raises after it has closed the stream" do
      expect(get("/call-raise-closed#{named}").body).to eq("whole")
      app.wait_for_line(/afterwards/)
      expect_closed_once
    end

    it "ends when its client has disconnected" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/endless-call#{named}")
      client.read_head
      client.connection.reset
      told("ended")
      expect_closed_once
    end

    it "ends on another thread when its client has disconnected" do
      client = http(receive_buffer: 4096)
      client.send_request("GET", "/thread-endless#{named}")
      client.read_head
      client.connection.reset
      expect(told("ended")[:error]).to be_a(String)
    end
  end
end
