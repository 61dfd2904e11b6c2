# frozen_string_literal: true

require "ripper"
require_relative "unit_helper"

# An example that expects nothing passes by accident.
RSpec.describe "The examples" do
  root = File.expand_path("..", __dir__)

  # The names in a tree of Ripper.sexp, in order, each with its line.
  def names(tree)
    return [] unless tree.is_a?(Array)
    return [[tree[1], tree[2].first]] if tree.first == :@ident

    tree.flat_map { |branch| names(branch) }
  end

  # The lines of the examples that call neither `expect` nor a helper named `expect_…`.
  def unexpecting(tree)
    return [] unless tree.is_a?(Array)

    inside = tree.flat_map { |branch| unexpecting(branch) }
    return inside unless tree.first == :method_add_block

    name, line = names(tree[1]).first
    return inside unless %w[it specify example].include?(name)

    names(tree[2]).any? { |called, _| called.match?(/\A(expect|expect_\w+|is_expected)\z/) } ? inside : [line, *inside]
  end

  def lines_of(source) = unexpecting(Ripper.sexp(source))

  it "are found if they expect nothing" do
    expect(lines_of(<<~RUBY)).to eq([2, 6, 7])
      describe "a thing" do
        it "expects nothing" do
          thing.happen
          its.expectation
        end
        it("expects nothing") { thing }
        it "expects nothing, where so", if: true do |example|
          nothing
        end
        it("expects something") { expect(thing).to be_nil }
        it "expects something, by a helper" do
          3.times { expect_thing }
        end
        it "is pending"
      end
    RUBY
  end

  it "expect something" do
    accidents = Dir[File.join(root, "**/*_spec.rb")].grep_v(%r{/node_modules/}).flat_map do |file|
      lines_of(File.read(file)).map { |line| "#{file.delete_prefix("#{root}/")}:#{line}" }
    end
    expect(accidents).to be_empty
  end

  # Every app that ended has a status, and code that raises nothing may do nothing.
  it "expect more than that something ended, or did not raise" do
    weak = Dir[File.join(root, "**/*_spec.rb")].grep_v(%r{/node_modules/|#{File.basename(__FILE__)}}).flat_map do |file|
      File.foreach(file).with_index(1).filter_map do |line, number|
        "#{file}:#{number}" if line.match?(/be_a\(Process::Status\)|not_to raise_error|to_not raise_error/)
      end
    end
    expect(weak).to be_empty
  end
end
