# frozen_string_literal: true

# Start it with `bin/push_server examples/chat/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/ in two windows.

require "json"
require "push_server"

ROOM = "chat:room"

# A new client reads the history. A client that was disconnected for a moment gets the messages that it has missed.
PushServer.channel ROOM, history: 50, ttl: 3600, presence: true

# One room. A client that opens the stream is in it. Several tabs of one member count as one.
module Chat
  NAME = 1..30
  TEXT = 1..2000

  # A client without a name can only read.
  def self.on_open(client)
    member, name = Rack::Utils.parse_query(client.env["QUERY_STRING"]).values_at("member", "name")
    info = { name: name } if member && NAME.cover?(name.to_s.strip.size)
    client.subscribe(ROOM, member: info && member, info: info)
  end

  # A page sends its messages by POST. This works with every transport, and with the app's own authentication. Only a member
  # who is in the room may send, under the name that the member has in the room.
  def self.say(env)
    words = JSON.parse(env["rack.input"].read)
    member, text = words.values_at("member", "text")
    speaker = PushServer.present(ROOM)[member]
    return 403 unless speaker
    return 422 unless text.is_a?(String) && TEXT.cover?(text.strip.size)

    PushServer.publish(ROOM, { member: member, name: speaker["name"], text: text.strip, at: Time.now.to_i }, event: "said")
    204
  rescue JSON::ParserError
    400
  end

  # The cursor is taken first. A message between these two lines is then in the page and in the stream, and the page
  # recognizes it by its id.
  def self.page
    cursor = PushServer.cursor
    said = PushServer.history(ROOM, limit: 50).map { |message| { id: message.id, data: message.data } }
    state = JSON.generate(cursor: cursor, said: said).gsub("<", '\u003c')
    File.read(File.join(__dir__, "index.html")).sub("{{state}}") { state }
  end
end

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  case "#{env["REQUEST_METHOD"]} #{env["PATH_INFO"]}"
  when "GET /" then [200, { "content-type" => "text/html; charset=utf-8", "cache-control" => "no-store" }, [Chat.page]]
  when "POST /say" then [Chat.say(env), {}, []]
  when "GET /room"
    env["rack.upgrade"] = Chat
    [env["rack.upgrade?"] ? 200 : 404, {}, []]
  else [404, {}, []]
  end
end)
