# frozen_string_literal: true

# Start it with `bin/push_server examples/chat/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/ in two windows.

require "json"
require "push_server"

# One room. The first thing a client says is its name; from then on it hears what everybody says.
class Room
  LONGEST_NAME = 30
  LONGEST_TEXT = 2000

  def initialize
    @guests = []
    # Callbacks of different clients run on several threads at once.
    @mutex = Mutex.new
  end

  def on_message(client, data)
    # Bytes are no words.
    text = data.encoding == Encoding::UTF_8 ? data.strip : ""
    return if text.empty?

    @mutex.synchronize { client[:name] ? tell("said", client, text: text[0, LONGEST_TEXT]) : welcome(client, text) }
  end

  def on_close(client)
    @mutex.synchronize { tell("left", client) if @guests.delete(client) }
  end

  private

  def welcome(client, name)
    client[:name] = name[0, LONGEST_NAME]
    @guests << client
    tell("joined", client)
  end

  # A write never blocks and never raises because a client has gone, so it may be made under the lock: then everybody
  # hears everything in the same order.
  def tell(event, client, **more)
    news = JSON.generate(event: event, name: client[:name], people: @guests.map { |guest| guest[:name] }, **more)
    @guests.each { |guest| guest.write(news) }
  end
end

room = Room.new

run(lambda do |env|
  if env["rack.upgrade?"] == :websocket
    env["rack.upgrade"] = room
    [200, {}, []]
  elsif env["PATH_INFO"] == "/"
    [200, { "content-type" => "text/html; charset=utf-8" }, [File.read(File.join(__dir__, "index.html"))]]
  else
    [404, {}, []]
  end
end)
