# frozen_string_literal: true

require "spec_helper"
require "digest"

# Request bodies that are too long for memory are kept in files, which together are bounded by max_spooled_total.
RSpec.describe "Request bodies in files" do
  config = <<~'CONFIG'
    require "spec_app"
    require "digest"

    GATE = Queue.new
    KEPT = []

    run(lambda do |env|
      input = env["rack.input"]
      case env["PATH_INFO"]
      when "/hold"
        SpecApp.report(:held)
        GATE.pop
      when "/dup"
        KEPT << input.dup
      when "/fork"
        # The first child closes its copy; the second runs what runs at the end of a process.
        Process.wait(fork { input.close; GC.start; exit })
        Process.wait(fork { exit })
      when "/close"
        input.close
        next [200, {}, ["closed"]]
      end
      [200, {}, [Digest::SHA256.hexdigest(input.read)]]
    end)
  CONFIG

  def stats = app.ask("PushServer.stats")
  def spooled = stats[:spooled_bytes]
  def nothing_left = eventually("all files to be closed") { spooled.zero? }
  def be_whole(content) = have_attributes(status: 200, body: Digest::SHA256.hexdigest(content))

  def chunked(content, size)
    chunks = content.scan(/.{1,#{size}}/mn).map { |chunk| "#{chunk.bytesize.to_s(16)}\r\n#{chunk}\r\n" }
    "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n#{chunks.join}0\r\n\r\n"
  end

  content = Random.new(2).bytes(700_001).freeze

  describe "within max_spooled_total" do
    serve config, "-t", "2"

    after { nothing_left }

    it "are written in blocks, even if they come in small pieces" do
      skip "there is no /proc" unless File.readable?("/proc/#{app.pid}/io")
      writes = -> { File.read("/proc/#{app.pid}/io")[/^syscw: (\d+)/, 1].to_i }
      body = content[0, 200_000]
      before = writes.call
      client = http
      client.write(chunked(body, 1))
      expect(client.read_response).to be_whole(body)
      expect(writes.call - before).to be < 2000
    end

    [1000, 65_535, 65_536, 65_537, 90_000].each do |size|
      it "are complete in chunks of #{size} bytes" do
        client = http
        client.write(chunked(content, size))
        expect(client.read_response).to be_whole(content)
      end
    end

    [114_688, 114_689, 131_072, 180_224, 700_001].each do |length|
      it "are complete with a length of #{length} bytes" do
        expect(http.request("POST", "/", body: content[0, length])).to be_whole(content[0, length])
      end
    end

    it "are complete one after the other, and at the same time" do
      bodies = Array.new(6) { |number| content[number * 1000, 400_000 + number] }
      clients = Array.new(3) { http }
      senders = clients.map do |client|
        Thread.new do
          bodies.each_with_index do |body, number|
            number.even? ? client.write(chunked(body, 3000)) : client.send_request("POST", "/", body: body)
          end
        end
      end
      clients.each { |client| bodies.each { |body| expect(client.read_response).to be_whole(body) } }
      senders.each(&:join)
    end

    it "are deleted when the client disconnects in between" do
      before = app.descriptors.size
      clients = Array.new(5) { |number| [http, number] }
      clients.each do |client, _|
        client.send_request("POST", "/", { "content-length" => content.bytesize })
        client.write(content[0, 400_000])
      end
      eventually("the files to be written") { spooled >= 5 * 300_000 }
      clients.each { |client, number| number.even? ? client.connection.reset : client.close }
      nothing_left
      expect_eventually("the descriptors to be closed") { app.descriptors.size <= before + 1 }
    end

    it "are counted until the last copy of the input is closed" do
      expect(http.request("POST", "/dup", body: content)).to be_whole(content)
      app.ask("GC.start; nil")
      expect(spooled).to eq(content.bytesize)
      app.ask("KEPT.each(&:close); nil")
      expect(spooled).to eq(0)
    end

    it "are not counted any more when the app has closed them or they were collected" do
      expect(http.request("POST", "/close", body: content).body).to eq("closed")
      expect(spooled).to eq(0)
      http.request("POST", "/dup", body: content)
      app.ask("KEPT.clear; nil")
      eventually("the copy to be collected") do
        app.ask("GC.start; nil")
        spooled.zero?
      end
    end

    it "are in the folder that TMPDIR named when the server started" do
      app.ask('ENV["TMPDIR"] = "/nowhere"; nil')
      expect(http.request("POST", "/", body: content)).to be_whole(content)
    ensure
      app.ask('ENV.delete("TMPDIR"); nil')
    end

    it "are not affected by a forked child", if: Process.respond_to?(:fork) do
      expect(http.request("POST", "/fork", body: content)).to be_whole(content)
    end
  end

  describe "beyond max_spooled_total" do
    serve config, "-t", "3", "--max-spooled-total", "1000000"

    after { nothing_left }

    # An upload that the app keeps open.
    def hold(content)
      client = http
      client.send_request("POST", "/hold", body: content)
      app.events.take(event: "held")
      client
    end

    def expect_refused(client)
      response = client.read_response
      expect(response).to have_attributes(status: 503)
      expect(response["retry-after"]).to eq("1")
      expect(client.connection.ending).to eq(:fin).or eq(:reset)
    end

    it "are refused with 503 while others use the space" do
      held = hold(content)
      expect(spooled).to eq(content.bytesize)
      before = stats[:spool_full]
      client = http
      client.connection.offer(chunked(content, 10_000))
      expect_refused(client)
      # Bodies that fit into memory or into the rest of the space are accepted.
      expect(http.request("POST", "/", body: "short")).to be_whole("short")
      expect(http.request("POST", "/", body: content[0, 250_000])).to be_whole(content[0, 250_000])
      app.ask("GATE << true; nil")
      expect(held.read_response).to be_whole(content)
      expect(stats[:spool_full]).to eq(before + 1)
      nothing_left
      expect(http.request("POST", "/", body: content)).to be_whole(content)
    end

    it "are refused with 503 before they come, by their content-length" do
      client = http
      client.send_request("POST", "/", { "content-length" => "1000001", "expect" => "100-continue" })
      expect(client.read_response("POST", interim: true).status).to eq(503)
      expect(app.wait_for_line(/503.*1000000.*max_spooled_total/)).to include("warn")
    end
  end
end
