# frozen_string_literal: true

require "push_server"
require "spec_app"

# Counts instead of reporting: a line for each of many thousand callbacks would be memory of the spec's.
class Counting
  TALLY = Hash.new(0)
  MUTEX = Mutex.new

  def self.count(what) = MUTEX.synchronize { TALLY[what] += 1 }

  def on_open(client)
    self.class.count(:opened)
    client.subscribe("news") if client.env["PATH_INFO"] == "/news"
    client.write("welcome")
    client.close if client.env["QUERY_STRING"] == "leave"
  end

  def on_message(client, data)
    data == "close" ? client.close(4000, "as you wish") : client.write(data)
  end

  def on_close(_client) = self.class.count(:closed)
end

PushServer.channel "news", history: 200

large = "x" * 50_000
run(lambda do |env|
  if env["rack.upgrade?"]
    env["rack.upgrade"] = Counting.new
    next [200, {}, []]
  end

  Counting.count(:requests)
  case env["PATH_INFO"]
  when "/echo" then [200, { "content-type" => "text/plain" }, [env["rack.input"].read]]
  when "/size" then [200, { "content-type" => "text/plain" }, [env["rack.input"].read.bytesize.to_s]]
  when "/publish" then [200, { "content-type" => "text/plain" }, [PushServer.publish("news", env["rack.input"].read).class.name]]
  when "/pid" then [200, { "content-type" => "text/plain" }, [Process.pid.to_s]]
  when "/large" then [200, { "content-type" => "text/plain" }, [large]]
  when "/parts" then [200, { "content-type" => "text/plain" }, Enumerator.new { |parts| 3.times { parts << "part" } }]
  else [200, { "content-type" => "text/plain" }, ["hello"]]
  end
end)
