# frozen_string_literal: true

require "spec_helper"

# A client on a slow link reads all the time. It answers a ping as soon as the ping has reached it, after all that is queued
# and all that the kernel has buffered. It must not be closed for the delay.
RSpec.describe "A client on a slow link" do
  serve <<~'CONFIG', *%w[--threads 2 --ping-interval 0.3 --pong-timeout 1 --slow-timeout 3600]
    require "spec_app"

    handler = SpecApp::Recorder.new
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  # Reads `bytes` in small parts, at less than half a megabyte a second. The kernel buffers several times as much, and takes more
  # only when a third of it has been read.
  def trickle(connection, bytes)
    (bytes / 5000).times do
      connection.read_exactly(5000)
      sleep Eventually::POLL
    end
  end

  def queue(client, megabytes) = ask(client, "#{megabytes * 20}.times { client.write('x' * 50_000) }; nil")

  it "stays open when a ping has to wait behind much data" do
    client = opened(websocket("/", receive_buffer: 16_384))
    queue(client, 6)
    trickle(client.connection, 3_000_000)
    expect(ask(client, "client.open?")).to be(true)
    expect(story(client)).not_to include(:close)
  end

  it "is closed when it stops reading; on_close gets 1006" do
    client = opened(websocket("/", receive_buffer: 16_384))
    queue(client, 6)
    trickle(client.connection, 500_000)
    expect_event(:close, client, code: 1006)
  end
end
