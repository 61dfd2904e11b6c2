# frozen_string_literal: true

# The app of all benchmarks: plain Rack, and the upgrade that Iodine, Agoo and push_server have, by env["rack.upgrade"]. On
# a server without it the answer is 426, and the server is left out of such scenarios.

# Writes each message back to its client.
module Echo
  def self.on_message(client, data) = client.write(data)
end

# The clients that a broadcast goes to. The list is never changed but replaced, so that a loop over it needs no lock.
module Listeners
  @lock = Mutex.new
  @all = []

  def self.all = @all

  # The greeting says that the client gets every message from now on.
  def self.on_open(client)
    @lock.synchronize { @all += [client] }
    client.write("ready")
  end

  def self.on_close(client) = @lock.synchronize { @all -= [client] }
end

# Writes each message to all listeners.
module Broadcaster
  def self.on_message(_client, data)
    Listeners.all.each { |listener| listener.write(data) }
  end
end

# Publishes each message in a channel, which the server itself delivers. Iodine has channels, too.
class Publisher
  PUBSUB = %i[PushServer Iodine].filter_map { |name| Object.const_get(name) if Object.const_defined?(name) }.first

  def initialize(channel) = @channel = channel
  def on_message(_client, data) = PUBSUB.publish(@channel, data)
end

class Subscriber
  def initialize(channel) = @channel = channel

  def on_open(client)
    client.subscribe(@channel)
    client.write("ready")
  end
end

# In these channels slow readers skip messages, by push_server's rules. In all other channels they resume.
%i[drop latest].each { |slow| PushServer.channel("bench-#{slow}", slow: slow) } if defined?(PushServer)

module QuietSubscriber
  def self.on_open(client) = client.subscribe("bench")
end

text = ->(body) { [200, { "content-type" => "text/plain" }, [body]] }

upgrade = lambda do |env, handler|
  next [426, { "content-type" => "text/plain" }, ["This is for push connections"]] unless env["rack.upgrade?"]

  env["rack.upgrade"] = handler
  [200, {}, []]
end

run(lambda do |env|
  case env["PATH_INFO"]
  when "/hello" then text["hello world"]
  when "/post" then text[env["rack.input"].read]
  when "/slow"
    sleep(0.01)
    text["slow"]
  when "/echo" then upgrade[env, Echo]
  when "/listen" then upgrade[env, Listeners]
  when "/broadcast" then upgrade[env, Broadcaster]
  when %r{\A/subscribe(-\w+)?\z} then upgrade[env, Subscriber.new("bench#{$1}")]
  when "/subscribe_quietly" then upgrade[env, QuietSubscriber]
  when %r{\A/publish(-\w+)?\z} then upgrade[env, Publisher.new("bench#{$1}")]
  else [404, { "content-type" => "text/plain" }, ["There is nothing here"]]
  end
end)
