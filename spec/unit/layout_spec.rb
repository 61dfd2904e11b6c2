# frozen_string_literal: true

require_relative "unit_helper"
require "open3"

# What keeps the walls of the house where they are.
RSpec.describe "The layout" do
  root = File.expand_path("../..", __dir__)

  it "keeps Ruby out of the core crate" do
    tree, status = Open3.capture2e("cargo", "tree", "-p", "push_core", "--edges", "normal,build,dev", "--locked", chdir: root)
    expect(status).to be_success, tree
    expect(tree).to include("tokio").and not_match(/magnus|rb-sys/)
  end

  RSpec::Matchers.define_negated_matcher :not_match, :match
end
