# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/layers"

# Which room may use which other room. A room is a folder of a crate, or a file beside the folders.
RSpec.describe Layers do
  # The rooms of the core, from the lowest up: what each may use.
  core = {
    "base" => [],
    "lifeline" => %w[base],
    "net" => %w[base],
    "request_head" => [],
    "sse" => [],
    "websocket" => %w[base],
    "channel" => %w[base sse websocket],
    "metrics" => %w[base],
    "engine" => %w[base channel metrics],
    "access_log" => %w[base net request_head],
    "push" => %w[access_log base channel net sse websocket],
    "http" => %w[access_log base channel net push request_head sse websocket],
    "reactor" => %w[base http push],
    "server" => %w[access_log base channel engine http metrics net push reactor]
  }

  # Files of a room that name each other in a circle. This list may only shrink.
  cycles = {}

  # The rooms of the extension, from the lowest up.
  extension = {
    "support" => [],
    "rack" => %w[support],
    "ruby" => %w[rack support],
    "app" => %w[rack ruby support],
    "native_server" => %w[app rack ruby support]
  }

  it "finds a use in braces, over several lines, and by super" do
    layers = described_class.new("src")

    expect(layers.rooms.to_a).to include(%w[server channel], %w[reactor http])
    expect(layers.files("access_log").to_a).to include(%w[entry format])
  end

  { "src" => core, "ext/push_server/src" => extension }.each do |source, rooms|
    it "keeps the rooms of #{source} in their order" do
      allowed = rooms.flat_map { |room, uses| uses.map { |use| [room, use] } }

      expect(described_class.new(source).rooms.to_a - allowed).to eq([])
    end

    it "knows all rooms of #{source}" do
      expect(rooms.keys).to include(*described_class.new(source).rooms.to_a.flatten.uniq)
    end
  end

  Dir.chdir(File.join(Layers::ROOT, "src")) { Dir["**/*/"] }.map { |folder| folder.chomp("/") }.sort.each do |folder|
    it "lets no circle of files grow in #{folder}" do
      expect(described_class.new("src").files(folder).cycles).to eq(cycles.fetch(folder, []))
    end
  end

  Dir[File.join(Layers::ROOT, "ext/push_server/src/*/")].map { |folder| File.basename(folder) }.each do |room|
    it "has no circle of files in #{room} of the extension" do
      expect(described_class.new("ext/push_server/src").files(room).cycles).to eq([])
    end
  end
end
