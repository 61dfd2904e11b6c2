# frozen_string_literal: true

require "spec_helper"

# However many clients do not read, what waits for all of them together is bounded; and the memory goes back.
RSpec.describe "A crowd of clients that never read" do
  include Crowd

  bound = 8 << 20
  limits = ["--max-queued-total", bound.to_s, "--slow-timeout", "3600", "--ping-interval", "off", "--threads", "2"]

  context "with --slow-client close" do
    serve Crowd::CONFIG, *limits

    it "takes bounded memory, and does not disturb other clients" do
      idlers = Array.new(100) { idler }
      readers = Array.new(3) { opened(websocket) } + Array.new(2) { opened(sse) }
      before = resident
      reading = readers.map { |client| reading(client, 60) }
      queued, memory = most_of(:queued_bytes) { app.ask("Town.cry(60, 16_384, 40 << 20)", seconds: 120) }
      expect(reading.map(&:value)).to all(eq([*0..59]))
      # One round is 1.6 MiB.
      expect(queued).to be_between(bound / 2, bound * 5 / 4)
      # What was closed is freed a moment later; and Ruby has its own 1.6 MiB a round.
      expect(memory - before).to be < 60_000 if before
      crowded_out = app.ask("PushServer.stats[:crowded_out]")
      expect(crowded_out).to be_between(20, 100)
      expect(app.events.all(event: "close").map { |event| event[:code] }).to eq([1013] * crowded_out)
      expect(app.lines.grep(/max_queued_total/).size).to eq(1)
      idlers.each(&:close)
      eventually("nothing to wait any more") { app.ask("PushServer.stats[:queued_bytes]").zero? }
    end
  end

  context "that polls, or is being closed" do
    serve Crowd::CONFIG, *limits, *%w[--close-timeout 3600 --poll-linger 3600]

    def write(client) = ask(client, "64.times { client.write('x' * 16_384) }; nil")

    def polled
      id = "push_wait=0&#{Serving.next_name}"
      client = closing(PollClient.new(app.address, "/?#{id}", id: id))
      client.poll
      opened(client)
    end

    it "is bounded, too: sessions without a poll" do
      clients = Array.new(20) { polled }
      clients.each { |client| write(client) }
      # Half is given, and kept until the client has shown that it got it.
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

    it "is bounded, too: clients that do not take what is sent before the close" do
      clients = Array.new(20) { idler }
      clients.each { |client| write(client).then { ask(client, "client.close(4000)") } }
      eventually("room to be made") { app.ask("PushServer.stats[:queued_bytes]") <= bound }
      codes = eventually("some to be cut") { app.events.all(event: "close", code: 4000).map { |event| event[:code] }.then { |all| all if all.size >= 10 } }
      expect(codes.size).to be < 20
    end
  end

  context "that is let be" do
    serve Crowd::CONFIG, "--max-queued-total", "1GiB", "--slow-timeout", "3600", "--ping-interval", "off", "--threads", "2"

    it "gives its memory back when it goes away" do
      skip "there is no /proc" unless app.resident
      before = resident
      idlers = Array.new(8) { idler }
      idlers.each { |client| ask(client, "750.times { client.write('x' * 16_384) }; nil") }
      expect(app.ask("PushServer.stats[:queued_bytes]")).to be > 90_000_000
      expect(resident - before).to be > 80_000
      idlers.each(&:close)
      eventually("the memory to be given back", seconds: 60) { resident - before < 20_000 }
      expect(app.ask("PushServer.stats[:queued_bytes]")).to eq(0)
    end
  end

  context "with --slow-client reject" do
    serve Crowd::CONFIG, *limits, "--slow-client", "reject"

    it "gets nothing more when little is left, and no client is closed" do
      idlers = Array.new(100) { idler }
      reader = opened(websocket)
      reading = reading(reader, 60)
      queued, = most_of(:queued_bytes) { app.ask("Town.cry(60, 16_384, 40 << 20)", seconds: 120) }
      expect(reading.value).to eq([*0..59])
      expect(queued).to be <= bound
      expect(idlers.map { |client| ask(client, "client.write('more')") }).to all(be(false))
      expect(ask(reader, "client.write('60')")).to be(true)
      expect(reader.read_message).to eq("60")
      expect(app.ask("PushServer.stats[:crowded_out]")).to eq(0)
    end
  end
end
