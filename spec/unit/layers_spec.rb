# frozen_string_literal: true

require_relative "unit_helper"
require_relative "../support/layers"

# Which layer may use which other layer. A layer is a folder of a crate, or a file beside the folders.
RSpec.describe Layers do
  # The layers of the core, from the lowest up: what each may use.
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

  # Files of a layer that name each other in a circle. This list may only shrink.
  cycles = {}

  # The layers of the extension, from the lowest up.
  extension = {
    "support" => [],
    "rack" => %w[support],
    "ruby" => %w[rack support],
    "app" => %w[rack ruby support],
    "native_server" => %w[app rack ruby support]
  }

  it "finds a use in braces, over several lines, and by super" do
    layers = described_class.new("src")

    expect(layers.uses.to_a).to include(%w[server channel], %w[reactor http])
    expect(layers.files("access_log").to_a).to include(%w[entry format])
  end

  { "src" => core, "ext/push_server/src" => extension }.each do |source, layers|
    it "keeps the layers of #{source} in their order" do
      allowed = layers.flat_map { |layer, uses| uses.map { |use| [layer, use] } }

      expect(described_class.new(source).uses.to_a - allowed).to eq([])
    end

    it "knows all layers of #{source}" do
      expect(layers.keys).to include(*described_class.new(source).uses.to_a.flatten.uniq)
    end
  end

  Dir.chdir(File.join(Layers::ROOT, "src")) { Dir["**/*/"] }.map { |folder| folder.chomp("/") }.sort.each do |folder|
    it "lets no circle of files grow in #{folder}" do
      expect(described_class.new("src").files(folder).cycles).to eq(cycles.fetch(folder, []))
    end
  end

  Dir[File.join(Layers::ROOT, "ext/push_server/src/*/")].map { |folder| File.basename(folder) }.each do |layer|
    it "has no circle of files in #{layer} of the extension" do
      expect(described_class.new("ext/push_server/src").files(layer).cycles).to eq([])
    end
  end
end
