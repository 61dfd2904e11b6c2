# frozen_string_literal: true

require "spec_helper"

# `rake storm` repeats it with other seeds (STORM_SEED, STORM_SECONDS), and with STORM_FAN_OUT=off: see Storm::SETUP. STORM_TRACE=1
# prints what happens; STORM_ERRORS names a file for everything that went wrong, of which RSpec shows the beginning.
RSpec.describe "A storm of messages to clients that come and go, over processes", transport: :tcp do
  seed = Integer(ENV.fetch("STORM_SEED", 42))

  context "with one process" do
    it "brings every client every message once and in order, or tells it of a gap" do
      app = start_app(Storm::SETUP + ProcessStorm::APP, *ProcessStorm::OPTIONS)
      storm = ProcessStorm.new(app, seed: seed, clients: 100, seconds: 4)
      expect(storm.run).to eq([])
      RSpec.configuration.reporter.message("    #{storm.summary}")
      expect(app.stop).to be_success
    end
  end

  context "with four workers" do
    it "brings every client every message once and in order, or tells it of a gap that is allowed" do
      app = start_app(Storm::SETUP + ProcessStorm::APP, "-w", 4, *ProcessStorm::OPTIONS, *ProcessStorm::CLUSTER)
      seconds = ENV["STORM_SECONDS"]&.to_f
      kinds = seconds ? ProcessStorm::Faults::ALL : ProcessStorm::Faults::SHORT
      storm = ProcessStorm.new(app, seed: seed, workers: 4, kinds: kinds, seconds: seconds)
      problems = storm.run
      RSpec.configuration.reporter.message("    #{storm.summary}")
      expect(problems).to eq([])
      expect(app.stop).to be_success
    end

    # So a leave, or a second join of a member, is an error whenever it comes.
    it "tells of no leave, and of each join once, while members linger" do
      app = start_app(Storm::SETUP + ProcessStorm::APP, "-w", 4, *ProcessStorm::FOREVER, *ProcessStorm::CLUSTER)
      seconds = ENV["STORM_SECONDS"]&.to_f
      kinds = seconds ? ProcessStorm::Faults::ALL : %i[kill_worker kill_hub stop_worker phased_restart restart_and_kill_hub]
      storm = ProcessStorm.new(app, seed: seed + 1, workers: 4, kinds: kinds, seconds: seconds, clients: 100, threads: 2, forever: true)
      problems = storm.run
      RSpec.configuration.reporter.message("    #{storm.summary}")
      expect(problems).to eq([])
      expect(app.stop).to be_success
    end
  end
end
