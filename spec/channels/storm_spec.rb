# frozen_string_literal: true

require "spec_helper"

# Many clients that come and go while many threads publish. `rake storm` repeats it with other seeds (STORM_SEED,
# STORM_ROUNDS), and with STORM_FAN_OUT=off: see Storm::SETUP.
RSpec.describe "A storm of messages to clients that come and go" do
  include ChannelClients

  # Each of the 200 clients is a thread of this process. On a busy machine, a thread may wait longer than the server waits for a
  # request, a pong or a handshake.
  patience = ["--head-timeout", 600, "--pong-timeout", 600, "--handshake-timeout", 600]

  def storm(round) = Storm.new(app, seed: Integer(ENV.fetch("STORM_SEED", 42)) + round)
  def rounds = Integer(ENV.fetch("STORM_ROUNDS", 1))

  context "with enough history" do
    serve "#{Storm::SETUP}PushServer.channel 'storm*', history: 100_000, ttl: nil\n" + ChannelClients::APP, *patience

    it "brings every client every message once" do
      rounds.times do |round|
        visitors = (storm = storm(round)).run
        expect(visitors.flat_map(&:errors)).to eq([])
        expect(visitors.map(&:received)).to eq(visitors.map { |visitor| storm.published.values_at(*visitor.channels).sum })
        expect(visitors.sum(&:gaps)).to eq(0)
        expect(visitors.sum(&:returns)).to be > visitors.size
      end
    end
  end

  context "with too little history" do
    serve "#{Storm::SETUP}PushServer.channel 'storm*', history: 30, ttl: nil\n" + ChannelClients::APP, *patience

    it "announces a gap to every client that has lost something" do
      rounds.times do |round|
        visitors = storm(round).run
        expect(visitors.flat_map(&:errors)).to eq([])
        expect(visitors.sum(&:gaps)).to be_positive
      end
    end
  end
end
