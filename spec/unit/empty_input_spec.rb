# frozen_string_literal: true

require_relative "unit_helper"
require "push_server/rack/empty_input"
require "stringio"

# It replaces a StringIO of "", so it is compared with one.
RSpec.describe PushServer::EmptyInput do
  # The result of a call in a form that can be compared: a String with its encoding; the input itself by name.
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
          # Copies, because buffers are changed. Binary, because not every Ruby keeps the encoding of a buffer.
          outcome(input, name, row.grep_v(Hash).map { |arg| arg.is_a?(String) ? arg.b : arg }, options)
        end
        expect(outcomes.first).to eq(outcomes.last)
      end
    end
  end

  it "returns empty enumerators" do
    %i[each each_line each_byte].each { |name| expect(described_class::INSTANCE.public_send(name).to_a).to eq([]) }
  end

  it "empties the buffer that it is given, and returns it" do
    buffer = +"old"
    expect(described_class::INSTANCE.read(nil, buffer)).to be(buffer)
    expect(buffer).to eq("")
  end

  it "is one object for all requests: another one cannot be made, and it cannot be changed or closed" do
    expect { described_class.new }.to raise_error(NoMethodError)
    expect(described_class::INSTANCE).to be_frozen
    described_class::INSTANCE.close
    expect(described_class::INSTANCE.read).to eq("")
  end

  it "is compared in all its methods" do
    expect(described_class.public_instance_methods(false)).to match_array([*calls.keys, :inspect])
  end
end
