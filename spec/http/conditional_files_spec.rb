# frozen_string_literal: true

require "spec_helper"
require "time"

# Preconditions, ranges and compressed versions of static files.
RSpec.describe "Static files" do
  include StaticFiles

  serve StaticFiles::CONFIG, "--public", "public", files: StaticFiles::FILES
  before(:context) { StaticFiles.prepare(@app) }

  time = StaticFiles::TIME
  large = StaticFiles::LARGE

  # RFC 9110 sections 8.8 and 13.
  describe "with preconditions" do
    def digits(headers = {}, method = "GET") = http.request(method, "/digits.txt", headers)

    let(:etag) { digits["etag"] }
    let(:date) { time.httpdate }
    let(:before) { (time - 1).httpdate }

    it "have a strong ETag and Last-Modified" do
      expect(digits["etag"]).to match(/\A"[^"]+"\z/)
      expect(digits["last-modified"]).to eq(date)
    end

    it "have another ETag after a change" do
      path = public_path("late/changed.txt")
      tags = [["one", time], ["two", time + 1], ["two", time + 1.5], ["three", time + 1.5]].map do |content, at|
        File.write(path, content)
        File.utime(at, at, path)
        get("/late/changed.txt")["etag"]
      end
      expect(tags.uniq.size).to eq(4)
    ensure
      File.delete(path)
    end

    it "have a weak ETag while they are new, and no Last-Modified later than Date" do
      path = public_path("late/new.txt")
      File.write(path, "new")
      File.utime(Time.now, Time.now + 3600, path)
      response = get("/late/new.txt")
      expect(response["etag"]).to start_with('W/"')
      expect(Time.httpdate(response["last-modified"])).to be <= Time.httpdate(response["date"])
    ensure
      File.delete(path)
    end

    %w[GET HEAD].each do |method|
      it "are answered with 304 when the client has them: #{method}" do
        [{ "if-none-match" => etag }, { "if-none-match" => "W/#{etag}" }, { "if-none-match" => %("x", #{etag}) },
         { "if-none-match" => ['"x"', etag] }, { "if-none-match" => "*" }, { "if-modified-since" => date },
         { "if-modified-since" => (time + 1).httpdate }].each do |headers|
          response = digits(headers, method)
          expect(response).to have_attributes(status: 304, framing: :none), headers.inspect
          expect(response["etag"]).to eq(etag)
          expect(response.headers.keys & %w[content-length content-type last-modified content-encoding]).to eq([])
        end
      end
    end

    it "are sent when the client has another version, or the condition is invalid" do
      [{ "if-none-match" => '"x"' }, { "if-none-match" => etag.delete('"') }, { "if-none-match" => "" }, { "if-modified-since" => before },
       { "if-modified-since" => "yesterday" }, { "if-modified-since" => [date, date] },
       { "if-none-match" => '"x"', "if-modified-since" => date }].each do |headers|
        expect(digits(headers)).to have_attributes(status: 200, body: "0123456789"), headers.inspect
      end
    end

    it "are answered with 412 when the condition is false" do
      [{ "if-match" => '"x"' }, { "if-match" => "W/#{etag}" }, { "if-unmodified-since" => before },
       { "if-match" => '"x"', "if-none-match" => etag }, { "if-match" => '"x"', "if-unmodified-since" => date }].each do |headers|
        response = digits(headers)
        expect(response.status).to eq(412), headers.inspect
        expect(response.body).not_to include("0123")
      end
    end

    it "are sent when the condition is true" do
      [{ "if-match" => etag }, { "if-match" => "*" }, { "if-unmodified-since" => date }, { "if-unmodified-since" => "x" },
       { "if-match" => etag, "if-unmodified-since" => before }].each do |headers|
        expect(digits(headers).status).to eq(200), headers.inspect
      end
    end

    it "are followed by further requests on the connection" do
      client = http
      statuses = [{ "if-none-match" => "*" }, { "if-match" => '"x"' }, { "range" => "bytes=50-" }, { "range" => "bytes=1-2" }, {}]
                 .map { |headers| client.get("/digits.txt", headers).status }
      expect(statuses).to eq([304, 412, 416, 206, 200])
    end
  end

  # RFC 9110 section 14.
  describe "with ranges" do
    def part(range, headers = {}) = get("/digits.txt", headers.merge("range" => range))

    it "are sent with accept-ranges: bytes" do
      expect(get("/digits.txt")["accept-ranges"]).to eq("bytes")
    end

    { "bytes=0-0" => ["0", "0-0"], "bytes=2-5" => ["2345", "2-5"], "bytes=7-" => ["789", "7-9"], "bytes=-3" => ["789", "7-9"],
      "bytes=5-99999999999999999999" => ["56789", "5-9"], "bytes=-99" => ["0123456789", "0-9"], "Bytes=0-1" => ["01", "0-1"],
      "bytes=0-1," => ["01", "0-1"] }.each do |range, (body, sent)|
      it "are sent in part: #{range}" do
        response = part(range)
        expect(response).to have_attributes(status: 206, framing: :length, body: body)
        expect(response["content-range"]).to eq("bytes #{sent}/10")
        expect(response["content-type"]).to eq("text/plain; charset=utf-8")
        expect(response["etag"]).to eq(get("/digits.txt")["etag"])
      end
    end

    %w[bytes=10- bytes=10-20 bytes=-0 bytes=99999999999999999999-].each do |range|
      it "are answered with 416 beyond the end: #{range}" do
        response = part(range)
        expect(response.status).to eq(416)
        expect(response["content-range"]).to eq("bytes */10")
      end
    end

    ["bytes=0-1,3-4", "bytes=5-2", "bytes=", "bytes=x-", "bytes=-", "bytes=1", "lines=1-2", "bytes", ""].each do |range|
      it "are sent whole for an invalid range or several: #{range.inspect}" do
        response = part(range)
        expect(response).to have_attributes(status: 200, body: "0123456789")
        expect(response["content-range"]).to be_nil
      end
    end

    it "are sent whole when they are empty" do
      expect(get("/empty.txt", { "range" => "bytes=0-99" })).to have_attributes(status: 200, body: "")
    end

    it "are answered to HEAD without a range" do
      response = http.request("HEAD", "/digits.txt", { "range" => "bytes=0-1" })
      expect(response).to have_attributes(status: 200)
      expect(response["content-length"]).to eq("10")
    end

    it "can be sent in large parts" do
      response = get("/large.bin", { "range" => "bytes=1000003-3000005" })
      expect(response["content-length"]).to eq("2000003")
      expect(response.body == large[1_000_003..3_000_005]).to be(true)
    end

    it "can be read part by part" do
      size = 1_234_567
      parts = (0...large.bytesize).step(size).map { |first| get("/large.bin", { "range" => "bytes=#{first}-#{first + size - 1}" }).body }
      expect(parts.join == large).to be(true)
    end

    it "are sent in part with If-Range only if the version is the same" do
      etag = get("/digits.txt")["etag"]
      [etag, time.httpdate].each { |same| expect(part("bytes=1-2", "if-range" => same)).to have_attributes(status: 206, body: "12") }
      ['"x"', "W/#{etag}", (time - 1).httpdate, (time + 1).httpdate, "x", ""].each do |other|
        expect(part("bytes=1-2", "if-range" => other)).to have_attributes(status: 200, body: "0123456789"), other
        expect(part("bytes=99-", "if-range" => other).status).to eq(200), other
      end
    end

    it "are checked for preconditions first" do
      expect(part("bytes=1-2", "if-none-match" => "*").status).to eq(304)
      expect(part("bytes=99-", "if-match" => '"x"').status).to eq(412)
    end
  end

  # RFC 9110 section 12.5.3.
  describe "with compressed versions" do
    def accept(encodings, target = "/app.js", headers = {}) = get(target, { "accept-encoding" => encodings, **headers })

    { "br, gzip" => "br", "gzip, deflate, br, zstd" => "br", "gzip" => "gzip", "x-gzip" => "gzip", "GZIP" => "gzip", "br;q=0.5, gzip" => "gzip",
      "*" => "br", "br;q=0, *;q=0.1" => "gzip", "gzip;q=0.001" => "gzip", "gzip, identity;q=0.5" => "gzip", "deflate" => nil, "" => nil,
      "identity" => nil, "gzip;q=0, br;q=0.000" => nil, "gzip;q=0.5, identity" => nil, "gzip;q=2" => nil, "identity;q=0" => nil,
      ["deflate", "gzip"] => "gzip" }.each do |encodings, coding|
      it "are sent in the version that Accept-Encoding chooses: #{encodings.inspect}" do
        response = accept(encodings)
        expect(response).to have_attributes(status: 200, body: { "br" => "in br", "gzip" => "in gz", nil => "plain" }.fetch(coding))
        expect(response["content-encoding"]).to eq(coding)
        expect(response["content-type"]).to eq("text/javascript; charset=utf-8")
        expect(response["vary"]).to eq("accept-encoding")
      end
    end

    it "are sent uncompressed without Accept-Encoding" do
      expect(get("/app.js")).to have_attributes(status: 200, body: "plain")
      expect(get("/app.js")["vary"]).to eq("accept-encoding")
    end

    it "are sent in the only version that is acceptable" do
      expect(accept("br, gzip", "/only.css")).to have_attributes(status: 200, body: "gzip")
      expect(accept("br", "/only.css")).to have_attributes(status: 200, body: "plain")
    end

    it "are sent uncompressed when the version is older, outside of the folder, or not a file" do
      { "/stale.js" => "plain", "/plain.txt" => "text", "/other.js" => "plain" }.each do |target, body|
        response = accept("br, gzip", target)
        expect(response).to have_attributes(status: 200, body: body)
        expect(response.headers.keys & %w[vary content-encoding]).to eq([])
      end
    end

    it "are also sent by the name of the version" do
      response = get("/orphan.js.gz")
      expect(response["content-type"]).to eq("application/gzip")
      expect(response["content-encoding"]).to be_nil
    end

    # Even if the versions have the same size and time.
    it "have another ETag for each version" do
      tags = ["br", "gzip", ""].to_h { |encodings| [encodings, accept(encodings)["etag"]] }
      expect(tags.values.uniq.size).to eq(3)
      tags.each do |encodings, tag|
        response = accept(encodings, "/app.js", "if-none-match" => tag)
        expect(response.status).to eq(304)
        expect(response["vary"]).to eq("accept-encoding")
        expect(accept(encodings, "/app.js", "if-none-match" => (tags.values - [tag]).join(", ")).status).to eq(200)
      end
    end

    it "can be sent in part" do
      response = accept("gzip", "/app.js", "range" => "bytes=1-2")
      expect(response).to have_attributes(status: 206, body: "n ")
      expect(response["content-range"]).to eq("bytes 1-2/5")
      expect(response["content-encoding"]).to eq("gzip")
    end
  end
end
