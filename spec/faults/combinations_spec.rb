# frozen_string_literal: true

require "spec_helper"

# Faults of clients, the app and the system at the same time, in many states of connections. `rake faults` runs more rounds with
# another seed (FAULT_ROUNDS, FAULT_SEED).
RSpec.describe "A server with several faults at once" do
  def seed = Integer(ENV.fetch("FAULT_SEED", 7))
  def rounds = Integer(ENV.fetch("FAULT_ROUNDS", 8))
  def round(number, **options) = Faults::Round.new(app, Random.new(seed + number), **options)

  def expect_all_closed
    eventually("connections to be closed", seconds: 30) { app.ask("GC.start; PushServer.stats[:open_connections]").zero? }
  end

  context "with short timeouts" do
    # With several arenas, memory of threads that have ended would look like a leak.
    serve Faults::APP, *Faults::PUBLIC, "-t", Faults::Round::THREADS, "--write-timeout", 2, "--body-timeout", 2, "--head-timeout", 2,
          "--keep-alive-timeout", 2, "--close-timeout", 2, "--drain-timeout", 5, env: { "MALLOC_ARENA_MAX" => "1" }, files: Faults::FILES

    it "answers or disconnects every client, and leaves no CPU busy, no thread lost and no descriptor open" do
      before = app.descriptors.size
      expect((0...rounds).flat_map { |number| round(number).run }).to eq([])
      expect_all_closed
      expect(app.descriptors.size).to be <= before + 2
    end

    # The tolerance is for Ruby's own heap.
    it "does so without using more and more memory", full: true do
      sizes = Array.new(5) do |part|
        6.times { |number| expect(round((6 * part) + number).run).to eq([]) }
        expect_all_closed
        app.resident
      end

      expect(sizes.last).to be < sizes[1] + (24 << 10), "KiB: #{sizes}"
    end
  end

  # Here an object is collected if it is not marked, and moved if it is not pinned. Everything takes long, so nothing may time out.
  context "with collections at each allocation and a compaction that is verified", full: true do
    serve Faults::APP, *Faults::PUBLIC, "-t", Faults::Round::THREADS, "--drain-timeout", 5, files: Faults::FILES

    it "answers or disconnects every client, and loses no thread" do
      expect((0...3).flat_map { |number| round(number, stress: true).run }).to eq([])
      expect_all_closed
    end
  end
end
