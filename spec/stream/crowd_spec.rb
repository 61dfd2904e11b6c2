# frozen_string_literal: true

require "spec_helper"

# The queues of all clients together are bounded, however many clients do not read, and their memory is given back.
RSpec.describe "The queues of many clients that never read" do
  include Crowd

  bound = 8 << 20
  limits = ["--max-queued-total", bound.to_s, "--slow-timeout", "3600", "--ping-interval", "off", "--threads", "2"]

  context "with --slow-client close" do
    serve Crowd::CONFIG, *limits

    it "are bounded by max_queued_total, and other clients get all their messages" do
      silent = Array.new(100) { silent_client }
      readers = Array.new(3) { opened(websocket) } + Array.new(2) { opened(sse) }
      before = resident
      reading = readers.map { |client| reading(client, 60) }
      queued, memory = most_of(:queued_bytes) { app.ask("Broadcast.run(60, 16_384, 40 << 20)", seconds: 120) }
      expect(reading.map(&:value)).to all(eq([*0..59]))
      # One round is 1.6 MiB.
      expect(queued).to be_between(bound / 2, bound * 5 / 4)
      # The queues are 8 MiB of it. Closed clients are freed a moment later, and a round is 1.6 MiB of Ruby's strings.
      expect(memory - before).to be < 20_000 if before
      crowded_out = app.ask("PushServer.stats[:crowded_out]")
      expect(crowded_out).to be_between(20, 100)
      expect(app.events.all(event: "close").map { |event| event[:code] }).to eq([1013] * crowded_out)
      expect(app.lines.grep(/max_queued_total/).size).to eq(1)
      silent.each(&:close)
      eventually("nothing to wait any more") { app.ask("PushServer.stats[:queued_bytes]").zero? }
    end
  end

  context "that poll or are being closed" do
    serve Crowd::CONFIG, *limits, *%w[--close-timeout 3600 --poll-linger 3600]

    def write(client) = ask(client, "64.times { client.write('x' * 16_384) }; nil")

    def polled = opened(poller(query: "push_wait=0").tap(&:poll))

    it "are bounded for long-poll sessions without a poll" do
      clients = Array.new(20) { polled }
      clients.each { |client| write(client) }
      # An answer is kept until the client has shown that it got it.
      last = polled
      ask(last, "client.write('kept')")
      expect(last.poll.data).to eq(["kept"])
      eventually("room to be made") { app.ask("PushServer.stats[:queued_bytes]") <= bound }
      open = clients.map { |client| ask(client, "client.open?") }
      expect(open.tally[true]).to be_between(4, 8)
      # The slowest went first: the one that had not polled for the longest.
      expect(open.first(10)).to all(be(false))
      expect(open.last(4)).to all(be(true))
      expect(clients.last.poll.data.size).to eq(64)
    end

    it "are bounded for clients that do not read what is sent before the close" do
      clients = Array.new(20) { silent_client }
      clients.each { |client| write(client).then { ask(client, "client.close(4000)") } }
      eventually("room to be made") { app.ask("PushServer.stats[:queued_bytes]") <= bound }
      codes = eventually("some to be cut") { app.events.all(event: "close", code: 4000).map { |event| event[:code] }.then { |all| all if all.size >= 10 } }
      expect(codes.size).to be < 20
    end
  end

  context "within a bound that they do not reach" do
    serve Crowd::CONFIG, "--max-queued-total", "1GiB", "--slow-timeout", "3600", "--ping-interval", "off", "--threads", "2"

    it "give their memory back when the clients disconnect" do
      skip "there is no /proc" unless app.resident
      before = resident
      silent = Array.new(8) { silent_client }
      silent.each { |client| ask(client, "750.times { client.write('x' * 16_384) }; nil") }
      expect(app.ask("PushServer.stats[:queued_bytes]")).to be > 90_000_000
      expect(resident - before).to be > 80_000
      silent.each(&:close)
      eventually("the memory to be given back", seconds: 60) { resident - before < 20_000 }
      expect(app.ask("PushServer.stats[:queued_bytes]")).to eq(0)
    end
  end

  context "with --slow-client reject" do
    serve Crowd::CONFIG, *limits, "--slow-client", "reject"

    it "take nothing more when little is left, and no client is closed" do
      silent = Array.new(100) { silent_client }
      reader = opened(websocket)
      reading = reading(reader, 60)
      queued, = most_of(:queued_bytes) { app.ask("Broadcast.run(60, 16_384, 40 << 20)", seconds: 120) }
      expect(reading.value).to eq([*0..59])
      expect(queued).to be <= bound
      expect(silent.map { |client| ask(client, "client.write('more')") }).to all(be(false))
      expect(ask(reader, "client.write('60')")).to be(true)
      expect(reader.read_message).to eq("60")
      expect(app.ask("PushServer.stats[:crowded_out]")).to eq(0)
    end
  end
end
