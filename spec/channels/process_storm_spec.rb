# frozen_string_literal: true

require "spec_helper"

# `rake storm` repeats it with other seeds (STORM_SEED, STORM_SECONDS).
RSpec.describe "A storm of messages to clients that come and go, over processes", transport: :tcp do
  seed = Integer(ENV.fetch("STORM_SEED", 42))

  context "with one process" do
    it "brings every client every message once and in order, or tells it of a gap" do
      app = start_app(ProcessStorm::APP, *ProcessStorm::OPTIONS)
      storm = ProcessStorm.new(app, seed: seed, clients: 100, seconds: 4)
      expect(storm.run).to eq([])
      RSpec.configuration.reporter.message("    #{storm.summary}")
      expect(app.stop).to be_success
    end
  end
end
