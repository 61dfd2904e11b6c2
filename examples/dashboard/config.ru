# frozen_string_literal: true

# Start it with `bin/push_server examples/dashboard/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.
#
# A page is old when it is born: what happens between its rendering and its connecting is in neither. Unless the page
# knows where it stands: it is rendered with a cursor, and connects with that.

require "json"
require "push_server"

PushServer.channel "dashboard", history: 200, ttl: 120

# Measures a shop that is not there, a few times a second.
class Shop
  EVERY = 0.25
  KEPT = 120

  def initialize
    @count = 0
    @load = 40.0
    @mutex = Mutex.new
    # As if it had been open for a while.
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

  # The points so far, and the cursor behind them: under one lock, so that they belong together.
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
    # A slow page: it is this old when the browser gets it.
    sleep 2 if env["QUERY_STRING"] == "slow"
    html = File.read(File.join(__dir__, "index.html")).sub("{{state}}") { state }
    [200, { "content-type" => "text/html; charset=utf-8", "cache-control" => "no-store" }, [html]]
  when "/events"
    env["rack.upgrade"] = Dashboard
    [env["rack.upgrade?"] ? 200 : 404, {}, []]
  else [404, {}, []]
  end
end)
