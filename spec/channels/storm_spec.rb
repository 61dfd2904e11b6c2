# frozen_string_literal: true

require "spec_helper"

# STORM_SEED and STORM_ROUNDS repeat it with other chances: rake storm.
RSpec.describe "A storm of messages, and clients that come and go" do
  include ChannelClients

  # Each of the 200 clients is a thread of this process. On a busy machine a thread waits for its turn longer than the
  # server waits for a request or a pong.
  patience = ["--head-timeout", 600, "--pong-timeout", 600]

  def storm(round) = Storm.new(app, seed: Integer(ENV.fetch("STORM_SEED", 42)) + round)
  def rounds = Integer(ENV.fetch("STORM_ROUNDS", 1))

  context "with enough history" do
    serve "require 'push_server'\nPushServer.channel 'storm*', history: 100_000, ttl: nil\n" + ChannelClients::APP, *patience

    it "loses nothing and repeats nothing" do
      rounds.times do |round|
        visitors = (storm = storm(round)).run
        expect(visitors.flat_map(&:faults)).to eq([])
        expect(visitors.map(&:received)).to eq(visitors.map { |visitor| storm.published.values_at(*visitor.channels).sum })
        expect(visitors.sum(&:gaps)).to eq(0)
        expect(visitors.sum(&:returns)).to be > visitors.size
      end
    end
  end

  context "with too little" do
    serve "require 'push_server'\nPushServer.channel 'storm*', history: 30, ttl: nil\n" + ChannelClients::APP, *patience

    it "tells whoever has lost something" do
      rounds.times do |round|
        visitors = storm(round).run
        expect(visitors.flat_map(&:faults)).to eq([])
        expect(visitors.sum(&:gaps)).to be_positive
      end
    end
  end
end
