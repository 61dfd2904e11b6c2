# frozen_string_literal: true

# The clock without a config.ru. Start it with `bin/run ruby examples/clock/push.rb` and open
# http://localhost:6464/websocket.html or http://localhost:6464/sse.html.

require "push_server"
require_relative "clock"

clock = Clock.new

accept = lambda do |env|
  next [404, {}, []] unless env["rack.upgrade?"]

  env["rack.upgrade"] = clock
  [200, { "set-cookie" => "clock=seen; path=/" }, []]
end

# The server sends the files of this folder, which include the two pages. It has threads of its own, so the main thread is free
# for the clock.
PushServer::Server.init(Integer(ENV.fetch("PORT", 6464)), __dir__, thread_count: 2)
PushServer::Server.handle(:GET, "/listen", accept)
PushServer::Server.handle(:GET, "/sse", accept)
PushServer::Server.start

clock.run
