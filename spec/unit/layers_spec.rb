# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/layers"

# Who may name whom. A room is a folder of a crate, or a file beside the folders.
RSpec.describe Layers do
  # The rooms of the core, from the lowest up: what each may use.
  core = {
    "base" => [],
    "net" => %w[base],
    "sse" => [],
    "websocket" => %w[base],
    "channel" => %w[base sse websocket],
    "access_log" => %w[base net],
    "push" => %w[access_log base channel net sse websocket],
    "http" => %w[access_log base channel net push sse websocket],
    "reactor" => %w[base http push],
    "server" => %w[access_log base channel http net push reactor]
  }

  # Files of a room that name each other in a circle. This list may only shrink.
  cycles = {
    "access_log" => [%w[entry format]],
    "channel" => [%w[block message], %w[channels log memory reader ring subscription]],
    "http" => [%w[answer body files long_poll request response service spool upgrade upload validate watch]]
  }
  extension_cycles = {
    "app" => [%w[declined exchange request]],
    "ruby" => [%w[channels client client_channels registry]]
  }

  it "finds a use in braces, over several lines, and by super" do
    layers = described_class.new("src")

    expect(layers.rooms.to_a).to include(%w[server channel], %w[reactor http])
    expect(layers.files("access_log").to_a).to include(%w[entry format])
  end

  it "keeps the rooms of the core in their order" do
    allowed = core.flat_map { |room, uses| uses.map { |use| [room, use] } }

    expect(described_class.new("src").rooms.to_a - allowed).to eq([])
  end

  it "knows all rooms of the core" do
    rooms = described_class.new("src").rooms.to_a.flatten.uniq

    expect(core.keys).to include(*rooms)
  end

  Dir[File.join(Layers::ROOT, "src/*/")].map { |folder| File.basename(folder) }.each do |room|
    it "lets no circle of files grow in #{room}" do
      expect(described_class.new("src").files(room).cycles).to eq(cycles.fetch(room, []))
    end
  end

  Dir[File.join(Layers::ROOT, "ext/push_server/src/*/")].map { |folder| File.basename(folder) }.each do |room|
    it "lets no circle of files grow in #{room} of the extension" do
      expect(described_class.new("ext/push_server/src").files(room).cycles).to eq(extension_cycles.fetch(room, []))
    end
  end

  it "lets no circle of rooms grow in the extension" do
    expect(described_class.new("ext/push_server/src").rooms.cycles).to eq([%w[app rack ruby]])
  end
end
