# frozen_string_literal: true

# Start it with `bin/push_server examples/dashboard/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.
#
# A message that is published after a page was rendered, and before the page has connected, is neither in the page nor in its
# stream. This page does not miss such messages: it is rendered with a cursor, and its stream begins at this cursor.

require "json"
require "push_server"

PushServer.channel "dashboard", history: 200, ttl: 120

# Makes up measurements of a shop, a few times a second.
class Shop
  EVERY = 0.25
  KEPT = 120

  def initialize
    @count = 0
    @load = 40.0
    @mutex = Mutex.new
    # The shop has been open for some time already.
    @points = Array.new(KEPT / 2) { measure }
  end

  def run
    loop do
      sleep EVERY
      @mutex.synchronize do
        @points = [*@points, measure].last(KEPT)
        PushServer.publish("dashboard", @points.last, event: "point")
      end
    end
  end

  # The points so far, and the cursor after them. The lock makes sure that no point is published in between.
  def snapshot = @mutex.synchronize { { cursor: PushServer.cursor, points: @points.dup } }

  private

  def measure
    @load = (@load + rand(-6.0..6.0) + ((45 - @load) * 0.05)).clamp(2, 98)
    { n: @count += 1, at: (Time.now.to_f * 1000).round, orders: (@load * 1.7).round, load: @load.round(1),
      wait: (18 + ((@load / 12)**2)).round }
  end
end

module Dashboard
  def self.on_open(client) = client.subscribe("dashboard")
end

shop = Shop.new
Thread.new { shop.run }

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  case env["PATH_INFO"]
  when "/"
    state = JSON.generate(shop.snapshot)
    # A slow page: it is 2 s old when the browser gets it.
    sleep 2 if env["QUERY_STRING"] == "slow"
    html = File.read(File.join(__dir__, "index.html")).sub("{{state}}") { state }
    [200, { "content-type" => "text/html; charset=utf-8", "cache-control" => "no-store" }, [html]]
  when "/events"
    env["rack.upgrade"] = Dashboard
    [env["rack.upgrade?"] ? 200 : 404, {}, []]
  else [404, {}, []]
  end
end)
