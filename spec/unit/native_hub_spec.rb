# frozen_string_literal: true

require_relative "unit_helper"
require "socket"
require "tempfile"

# The hub's loop, as its process calls it. `spec/cluster` has it with a supervisor and workers.
RSpec.describe "PushServer::NativeHub" do
  def hub = PushServer.const_get(:NativeHub)

  let(:link) { UNIXSocket.pair }
  let(:store) { Tempfile.new("store").tap { |file| file.truncate(hub::STORE_SIZE) } }
  let(:statistics) { Tempfile.new("statistics").tap { |file| file.truncate(PushServer.const_get(:NativeSlots)::SIZE) } }
  let(:settings) { PushServer::Options.new.settings }

  # @return [Thread] with the hub
  def start
    Thread.new { hub.run(link.last.fileno, nil, [], store.fileno, statistics.fileno, settings) }.tap { |thread| thread.report_on_exception = false }
  end

  def join(thread) = thread.join(10) || raise("the hub goes on")

  it "answers its supervisor, and ends when told so" do
    thread = start
    link.first.write("first\nping 7\n")
    expect(Array.new(2) { link.first.gets }).to eq(%W[ready\n pong\ 7\n])

    link.first.write("stop\n")
    expect(join(thread).value).to be_nil
  end

  it "ends with its supervisor" do
    thread = start
    link.first.gets
    link.first.close
    expect(join(thread).value).to be_nil
  end

  it "lets other threads run, and can be killed" do
    thread = start
    expect(link.first.gets).to eq("ready\n")
    thread.kill
    expect(join(thread).value).to be_nil
  end

  it "refuses descriptors that cannot be" do
    expect { hub.run(-1, nil, [], store.fileno, statistics.fileno, settings) }.to raise_error(ArgumentError, /not a file descriptor/)
    store.truncate(100)
    expect { hub.run(link.last.fileno, nil, [], store.fileno, statistics.fileno, settings) }.to raise_error(IOError, /100 bytes is too short/)
  end
end
