# frozen_string_literal: true

require_relative "unit_helper"

# The extension calls Ruby code of the library by name in one file. That file's table is what a change in lib/ must keep.
RSpec.describe "What the extension names in lib/" do
  source = File.expand_path("../../ext/push_server/src", __dir__)
  library = File.join(source, "support/library.rs")
  calls = /\bfuncall(?:_public)?(?:::<[^(]*>)?\(\s*"([^"]+)"/
  constants = /\bconst_get(?:::<[^(]*>)?\(\s*"([^"]+)"/

  # { "PushServer::Bodies" => ["run", "finish", "fail"] }
  table = File.readlines(library).filter_map do |line|
    _, constant, methods = line.split("|").map { |cell| cell.scan(/`([^`]+)`/).flatten } if line.match?(%r{^//! \| `})
    [constant.first, methods] if constant
  end.to_h
  code = File.read(library).gsub(%r{//.*}, "")
  others = Dir[File.join(source, "**/*.rs")].sort - [library]

  it "has all constants in the table, and no others" do
    named = code.scan(constants).flatten.map { |name| name == "PushServer" ? name : "PushServer::#{name}" }

    expect(table.keys).to match_array(named)
  end

  it "has all methods in the table, and no others" do
    called = code.scan(calls).flatten + (code.include?("new_instance(") ? ["new"] : [])

    expect(table.values.flatten).to match_array(called)
  end

  table.each do |constant, methods|
    it "finds #{constant} in lib/ with what the extension calls" do
      owner = Object.const_get(constant)
      lookup = owner.is_a?(Class) ? (methods - ["new"]).map { |name| owner.instance_method(name) } : methods.map { |name| owner.method(name) }

      expect(lookup.map { |method| File.basename(method.source_location.first) }).to all(end_with(".rb"))
    end
  end

  others.each do |file|
    it "is named by no call in #{file.delete_prefix("#{source}/")}" do
      text = File.read(file).gsub(%r{//.*}, "")

      expect(text.scan(calls).flatten & table.values.flatten).to eq([])
      expect(text.scan(constants).flatten.grep_v(/\A(?:Rack|StringIO|TCPSocket|UNIXSocket)\z/)).to eq([])
    end
  end
end
