# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/layers"

# Who may name whom. A room is a folder of a crate, or a file beside the folders.
RSpec.describe Layers do
  # What any room of the core may use. They use each other, but no room of the table below.
  base = %w[descriptors disk fork limits memory seldom shutdown stats tally timers wakeups wire]

  # The rooms of the core, from the lowest up: what each may use beside the base.
  core = {
    "access_log" => [],
    "channel" => [],
    "push" => %w[access_log channel],
    "http" => %w[access_log channel push],
    "listener" => %w[http],
    "reactor" => %w[http push],
    "server" => %w[access_log channel http listener push reactor]
  }

  # Files of a room that name each other in a circle. This list may only shrink.
  cycles = {
    "access_log" => [%w[entry format]],
    "channel" => [%w[block message], %w[channels log memory reader ring subscription]],
    "http" => [%w[answer body files guard polling request response service spool upgrade upload watch]]
  }
  extension_cycles = [%w[body_stream response], %w[client pubsub registry subscriptions], %w[declined exchange request]]

  it "finds a use in braces, over several lines, and by super" do
    layers = described_class.new("src")

    expect(layers.rooms.to_a).to include(%w[server channel], %w[reactor http])
    expect(layers.files("access_log").to_a).to include(%w[entry format])
  end

  it "keeps the rooms of the core in their order" do
    allowed = core.flat_map { |room, uses| (uses + base).map { |use| [room, use] } } + base.product(base)

    expect(described_class.new("src").rooms.to_a - allowed).to eq([])
  end

  it "knows all rooms of the core" do
    rooms = described_class.new("src").rooms.to_a.flatten.uniq

    expect(rooms - core.keys - base).to eq([])
    expect(core.keys + base).to match_array((rooms + core.keys + base).uniq)
  end

  Dir[File.join(Layers::ROOT, "src/*/")].map { |folder| File.basename(folder) }.each do |room|
    it "lets no circle of files grow in #{room}" do
      expect(described_class.new("src").files(room).cycles).to eq(cycles.fetch(room, []))
    end
  end

  it "lets no circle of files grow in the extension" do
    expect(described_class.new("ext/push_server/src").rooms.cycles).to eq(extension_cycles)
  end
end
