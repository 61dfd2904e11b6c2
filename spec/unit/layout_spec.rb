# frozen_string_literal: true

require_relative "unit_helper"
require "open3"

# Rules about files and folders that no compiler checks.
RSpec.describe "The layout" do
  root = File.expand_path("../..", __dir__)

  it "keeps Ruby out of the core crate" do
    tree, status = Open3.capture2e("cargo", "tree", "-p", "push_core", "--edges", "normal,build,dev", "--locked", chdir: root)
    expect(status).to be_success, tree
    expect(tree).to include("tokio").and not_match(/magnus|rb-sys/)
  end

  # One file adapts hyper, which can be replaced there.
  it "names hyper in one file" do
    source = File.join(root, "src")
    named = Dir[File.join(source, "**/*.rs")].select { |path| File.read(path).gsub(%r{//.*}, "").match?(/\bhyper(?:_util)?::/) }

    expect(named.map { |path| path.delete_prefix("#{source}/") }).to eq(["http/h1/adapter.rs"])
  end

  # Some("localhost:9292") means nothing to readers who do not know Rust.
  it "keeps Rust's debug forms out of the log" do
    lines = Dir[File.join(root, "{src,ext}/**/*.rs")].flat_map do |file|
      File.read(file).scan(/log::(?:error|warn|info|debug)!\(.*?\)[;,)\n]/m).grep(/:#?\?\}/).map { |line| "#{file}: #{line}" }
    end
    expect(lines).to be_empty
  end

  it "has a line in spec/README.md for each folder of specs" do
    folders = Dir[File.join(root, "spec/*/")].map { |folder| File.basename(folder) }
    lines = File.readlines(File.join(root, "spec/README.md")).filter_map { |line| line[%r{\A\| `(\w+)/` \|}, 1] }

    expect(lines).to match_array(folders)
  end

  RSpec::Matchers.define_negated_matcher :not_match, :match
end
