# frozen_string_literal: true

require "spec_helper"

# What clients see of a phased restart: streams are disconnected once, sessions of polls end once, and nothing else happens.
RSpec.describe "A phased restart under load", transport: :tcp do
  # pause: of each of 8 threads between two requests.
  def restart_under_load(workers:, clients:, pause:, share: 1)
    start_app(ProcessStorm::APP, "-w", workers, *ProcessStorm::OPTIONS, "--drain-timeout", 20)
    eventually("all workers to serve") { app.tree.workers.size == workers }
    storm = ProcessStorm.new(app, seed: 42, workers: workers, clients: clients, kinds: [:phased_restart], pause: pause,
                                  share: share, leave: false, channels: ProcessStorm::KEPT)
    problems = storm.run
    RSpec.configuration.reporter.message("    #{storm.summary}")
    problems += storm.publishers.failures.map(&:to_a)
    [problems, storm.readers.all.map(&:openings).tally]
  end

  it "fails no request, refuses no connection, loses no message, and disconnects each client once" do
    expect(restart_under_load(workers: 2, clients: 100, pause: 0.1)).to eq([[], { 2 => 100 }])
    expect(app.stop).to be_success
  end

  it "does so with 4 workers, 1000 clients and 200 requests a second", :full do
    expect(restart_under_load(workers: 4, clients: 1000, pause: 0.04, share: 0.05)).to eq([[], { 2 => 1000 }])
    expect(app.stop).to be_success
  end
end
