# frozen_string_literal: true

# Start it with `bin/push_server examples/echo/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.

require "push_server"

# Says back what it hears, text as text and bytes as bytes. A module will do: there is nothing to remember.
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
