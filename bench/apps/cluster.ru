# frozen_string_literal: true

# The app of bench/cluster.rb. A path for each thing that a client asks of the worker that it is connected to.

# Subscribes its client to a channel.
class Subscriber
  def initialize(channel) = @channel = channel
  def on_open(client) = client.subscribe(@channel)
end

# The clock that all processes of this machine share, in ns.
now = -> { Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond) }
text = ->(body) { [200, { "content-type" => "text/plain" }, [body.to_s]] }

run(lambda do |env|
  case env["PATH_INFO"]
  when "/pid" then text[Process.pid]
  when "/subscribe"
    next [426, {}, []] unless env["rack.upgrade?"]

    env["rack.upgrade"] = Subscriber.new("bench")
    [200, {}, []]
  when "/publish"
    PushServer.publish("bench", now.call.to_s)
    text["ok"]
  when "/burst" # publishes for as many seconds as the query says, and says how many messages that were
    seconds = Float(env["QUERY_STRING"])
    data = "x" * 64
    count = 0
    stop = now.call + (seconds * 1e9)
    while now.call < stop
      100.times { PushServer.publish("bench", data) }
      count += 100
    end
    PushServer.cursor # waits for the last number
    text[count]
  else [404, {}, []]
  end
end)
