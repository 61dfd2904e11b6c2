# frozen_string_literal: true

require "spec_helper"

# Like spec/stream/crowd_spec.rb, with a thousand clients.
RSpec.describe "The queues of a thousand clients that never read", :full do
  include Crowd

  bound = 64 << 20
  serve Crowd::CONFIG, "--max-queued-total", "64MiB", "--slow-timeout", "3600", "--ping-interval", "off", "--threads", "2"

  it "are bounded, do not disturb other clients, and give their memory back" do
    _, most = Process.getrlimit(:NOFILE)
    skip "There are not enough descriptors: #{most}" if most < 1200
    Process.setrlimit(:NOFILE, 1200) if Process.getrlimit(:NOFILE).first < 1200
    before = resident
    silent = Array.new(1000) { silent_client }
    readers = Array.new(5) { opened(websocket) } + Array.new(5) { opened(sse) }
    reading = readers.map { |client| reading(client, 60) }
    queued, memory = most_of(:queued_bytes) { app.ask("Broadcast.run(60, 10_000, 10 << 20)", seconds: 600) }
    expect(reading.map(&:value)).to all(eq([*0..59]))
    # One round is 10 MB.
    expect(queued).to be_between(bound / 2, bound * 5 / 4)
    expect(memory - before).to be < 200_000 if before
    expect(app.ask("PushServer.stats[:crowded_out]")).to be_between(300, 1000)
    silent.each(&:close)
    eventually("the memory to be given back", seconds: 60) { resident - before < 50_000 } if before
  end
end
