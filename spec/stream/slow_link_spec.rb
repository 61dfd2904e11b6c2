# frozen_string_literal: true

require "spec_helper"

# A client at the end of a slow link reads all the time, and answers a ping as soon as it has got through to it: behind
# what is queued, and behind what the kernel holds. It is not one that does not answer.
RSpec.describe "A slow link" do
  serve <<~'CONFIG', *%w[--threads 2 --ping-interval 0.3 --pong-timeout 1 --slow-timeout 3600]
    require "spec_app"

    handler = SpecApp::Recorder.new
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  # Reads `bytes` in small parts: less than half a megabyte in a second. The kernel holds several times as much, and takes
  # more when a third of it has gone, which is seldom.
  def trickle(connection, bytes)
    (bytes / 5000).times do
      connection.read_exactly(5000)
      sleep Eventually::POLL
    end
  end

  def queue(client, megabytes) = ask(client, "#{megabytes * 20}.times { client.write('x' * 50_000) }; nil")

  it "is given time for a ping that stands behind much" do
    client = opened(websocket("/", receive_buffer: 16_384))
    queue(client, 6)
    trickle(client.connection, 3_000_000)
    expect(ask(client, "client.open?")).to be(true)
    expect(story(client)).not_to include(:close)
  end

  it "is given none if it stops: 1006" do
    client = opened(websocket("/", receive_buffer: 16_384))
    queue(client, 6)
    trickle(client.connection, 500_000)
    expect_event(:close, client, code: 1006)
  end
end
