# frozen_string_literal: true

# Start it with `bin/push_server examples/echo/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.

require "push_server"

# Sends back each message, text as text and bytes as bytes. The handler has no state, so a module is enough.
module Echo
  def self.on_message(client, data)
    client.write(data)
  end
end

run(lambda do |env|
  if env["rack.upgrade?"] == :websocket
    env["rack.upgrade"] = Echo
    [200, {}, []]
  elsif env["PATH_INFO"] == "/"
    [200, { "content-type" => "text/html; charset=utf-8" }, [File.read(File.join(__dir__, "index.html"))]]
  else
    [404, {}, []]
  end
end)
