# frozen_string_literal: true

require_relative "unit_helper"
require "push_server/rack/empty_input"
require "stringio"

# It stands for a StringIO of "", so that is what it is compared with.
RSpec.describe PushServer::EmptyInput do
  # What a call comes to, so that two can be compared: a String with its encoding; the input itself by name.
  def outcome(input, name, args, options)
    yielded = []
    result = input.public_send(name, *args, **options) { |part| yielded << part }
    { result: picture(input, result), yielded: yielded, args: args }
  rescue StandardError => e
    { raised: e.class, message: e.message, args: args }
  end

  def picture(input, result)
    case result
    when input then :itself
    when String then [result, result.encoding]
    else result
    end
  end

  calls = {
    read: [[], [nil], [0], [5], [nil, "old"], [0, "old"], [5, "old"], [-1]],
    gets: [[], [nil], ["\n"], [""], [5], ["\n", 5], [{ chomp: true }]],
    getc: [[]], getbyte: [[]],
    each: [[], ["\n"]], each_line: [[], ["\n"]], each_byte: [[]],
    readpartial: [[0], [5], [5, "old"], [0, "old"]], sysread: [[0], [5], [5, "old"]],
    read_nonblock: [[0], [5], [5, "old"], [5, { exception: false }], [0, { exception: false }]],
    rewind: [[]], pos: [[]], tell: [[]], seek: [[0], [0, IO::SEEK_END], [5]],
    size: [[]], length: [[]], eof?: [[]], eof: [[]], closed?: [[]], close: [[]],
    binmode: [[]], sync: [[]], external_encoding: [[]], set_encoding: [["BINARY"]]
  }

  calls.each do |name, rows|
    rows.each do |row|
      it "answers #{name}(#{row.map(&:inspect).join(", ")}) as an empty StringIO does" do
        options = row.last.is_a?(Hash) ? row.last : {}
        outcomes = [described_class::INSTANCE, StringIO.new("".b)].map do |input|
          # Of their own: buffers are changed. Binary, since Rubies differ in whether a buffer keeps its encoding.
          outcome(input, name, row.grep_v(Hash).map { |arg| arg.is_a?(String) ? arg.b : arg }, options)
        end
        expect(outcomes.first).to eq(outcomes.last)
      end
    end
  end

  it "gives enumerators without anything in them" do
    %i[each each_line each_byte].each { |name| expect(described_class::INSTANCE.public_send(name).to_a).to eq([]) }
  end

  it "fills the buffer it is given and returns that" do
    buffer = +"old"
    expect(described_class::INSTANCE.read(nil, buffer)).to be(buffer)
    expect(buffer).to eq("")
  end

  it "is one for all: it cannot be made, changed or closed" do
    expect { described_class.new }.to raise_error(NoMethodError)
    expect(described_class::INSTANCE).to be_frozen
    described_class::INSTANCE.close
    expect(described_class::INSTANCE.read).to eq("")
  end

  it "is compared in all it can" do
    expect(described_class.public_instance_methods(false)).to match_array([*calls.keys, :inspect])
  end
end
