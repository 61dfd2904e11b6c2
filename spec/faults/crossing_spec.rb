# frozen_string_literal: true

require "spec_helper"

# States of a connection and of a worker, crossed with what clients and the app do to them. FAULT_SEED and FAULT_ROUNDS
# repeat it with other chances: rake faults.
RSpec.describe "Where two faults meet" do
  def seed = Integer(ENV.fetch("FAULT_SEED", 7))
  def rounds = Integer(ENV.fetch("FAULT_ROUNDS", 8))
  def round(number, **options) = Crossing::Round.new(app, Random.new(seed + number), **options)

  def expect_all_closed
    eventually("connections to be closed", seconds: 30) { app.ask("GC.start; PushServer.stats[:open_connections]").zero? }
  end

  context "with short timeouts" do
    # One arena, or what threads that have ended leave in theirs is taken for a leak.
    serve Crossing::APP, "-t", Crossing::Round::THREADS, "--write-timeout", 2, "--body-timeout", 2, "--head-timeout", 2,
          "--keep-alive-timeout", 2, "--close-timeout", 2, "--drain-timeout", 5, env: { "MALLOC_ARENA_MAX" => "1" }

    it "leaves no client untold, no core busy, no worker lost and no descriptor open" do
      before = app.descriptors.size
      expect((0...rounds).flat_map { |number| round(number).run }).to eq([])
      expect_all_closed
      expect(app.descriptors.size).to be <= before + 2
    end

    # Under the tolerance is what Ruby's own heap may do.
    it "does so without its memory growing", full: true do
      sizes = Array.new(5) do |part|
        6.times { |number| expect(round((6 * part) + number).run).to eq([]) }
        expect_all_closed
        app.resident
      end

      expect(sizes.last).to be < sizes[1] + (24 << 10), "KiB: #{sizes}"
    end
  end

  # What is marked or pinned too little is collected, or moves. All takes long then, and nothing may time out.
  context "with a collection at each allocation", full: true do
    serve Crossing::APP, "-t", Crossing::Round::THREADS, "--drain-timeout", 5

    # 1: those of young objects only, or it takes hours.
    it "leaves no client untold and no worker lost" do
      app.ask("GC.stress = 1")
      wrong = (0...2).flat_map { |number| round(number, clients: Crossing::Visitor::STATES.size, patient: true).run }
      app.ask("GC.stress = false", seconds: 60)

      expect(wrong).to eq([])
      expect_all_closed
    end
  end
end
