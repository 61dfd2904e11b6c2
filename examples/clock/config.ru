# frozen_string_literal: true

# Start it with `bin/push_server examples/clock/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/websocket.html or http://localhost:9292/sse.html.

require "push_server"
require_relative "clock"

clock = Clock.new

run(lambda do |env|
  path = env["PATH_INFO"]
  if env["rack.upgrade?"] && %w[/listen /sse].include?(path)
    clock.start
    # The clock becomes the handler of this client: of a WebSocket or of an EventSource.
    env["rack.upgrade"] = clock
    [200, { "set-cookie" => "clock=seen; path=/" }, []]
  elsif %w[/websocket.html /sse.html].include?(path)
    [200, { "content-type" => "text/html; charset=utf-8" }, [File.read(File.join(__dir__, path))]]
  elsif path == "/"
    [302, { "location" => "#{env["SCRIPT_NAME"]}/websocket.html" }, []]
  else
    [404, {}, []]
  end
end)
