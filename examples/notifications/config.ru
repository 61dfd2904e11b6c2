# frozen_string_literal: true

# Start it with `bin/push_server examples/notifications/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.
#
# WebSocket, event stream and long poll use the same handler, the same messages and the same cursor.

require "json"
require "push_server"

PushServer.channel "notifications", history: 100, ttl: 600

module Inbox
  NEWS = [["Parcel", "Your parcel is on its way"], ["Calendar", "Standup begins in ten minutes"],
          ["Build", "All tests have passed"], ["Mail", "Ana has answered you"], ["Bank", "Your salary has come in"],
          ["Weather", "It will rain this afternoon"]].freeze

  def self.on_open(client) = client.subscribe("notifications")

  # It counts nothing: with several workers, each would have a count of its own.
  def self.notify(times)
    NEWS.shuffle.cycle.first(times).each.with_index(1) do |(from, text), number|
      text = "#{text} (#{number} of #{times})" if times > 1
      PushServer.publish("notifications", { from: from, text: text }, event: "notification")
    end
  end
end

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  case "#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}"
  when "GET /"
    html = File.read(File.join(__dir__, "index.html")).sub("{{cursor}}", PushServer.cursor)
    [200, { "content-type" => "text/html; charset=utf-8", "cache-control" => "no-store" }, [html]]
  when "POST /notify"
    Inbox.notify(env["QUERY_STRING"] == "burst" ? 10 : 1)
    [204, {}, []]
  when "GET /events"
    env["rack.upgrade"] = Inbox
    [env["rack.upgrade?"] ? 200 : 404, {}, []]
  else [404, {}, []]
  end
end)
