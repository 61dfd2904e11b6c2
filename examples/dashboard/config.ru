# frozen_string_literal: true

# Start it with `bin/push_server examples/dashboard/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.
#
# A message that is published after a page was rendered, and before the page has connected, is neither in the page nor in its
# stream. This page does not miss such messages: it is rendered with a cursor, and its stream begins at this cursor.

require "json"
require "push_server"
require_relative "../one_worker"

PushServer.channel "dashboard", history: 200, ttl: 120

# Makes up measurements of a shop, a few times a second. It keeps nothing itself: all workers have the channel's history.
class Shop
  EVERY = 0.25
  KEPT = 120

  # Goes on after the last point of the worker that has done this before. Its last messages have arrived after a moment.
  def run
    sleep EVERY
    last = snapshot[:points].last
    # The shop has been open for some time already.
    (KEPT / 2).times { last = publish(last) } unless last
    loop do
      sleep EVERY
      last = publish(last)
    end
  end

  # The points so far, and the cursor after them. If there are none, the cursor is from before they were looked for.
  def snapshot
    cursor = PushServer.cursor
    messages = PushServer.history("dashboard", limit: KEPT)
    { cursor: messages.last&.id || cursor, points: messages.map { |message| JSON.parse(message.data, symbolize_names: true) } }
  end

  private

  def publish(last)
    measure(last || { n: 0, load: 40.0 }).tap { |point| PushServer.publish("dashboard", point, event: "point") }
  end

  def measure(last)
    load = (last[:load] + rand(-6.0..6.0) + ((45 - last[:load]) * 0.05)).clamp(2, 98)
    { n: last[:n] + 1, at: (Time.now.to_f * 1000).round, orders: (load * 1.7).round, load: load.round(1),
      wait: (18 + ((load / 12)**2)).round }
  end
end

module Dashboard
  def self.on_open(client) = client.subscribe("dashboard")
end

shop = Shop.new
# One worker measures, and all others have its points.
measuring = OneWorker.new("dashboard") { shop.run }

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  measuring.start
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
