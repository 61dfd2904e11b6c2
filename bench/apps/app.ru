# frozen_string_literal: true

# What every server of a benchmark serves: plain Rack, and the upgrade of Iodine, Agoo and push_server, which an app
# asks for by setting env["rack.upgrade"]. On a server that knows nothing of it the answer is 426, and the server is left
# out of such scenarios.

# Says back what it hears.
module Echo
  def self.on_message(client, data) = client.write(data)
end

# Those whom a broadcast reaches. The list is never changed but replaced, so that a loop over it needs no lock.
module Listeners
  @lock = Mutex.new
  @all = []

  def self.all = @all

  # The greeting tells that from now on every message comes.
  def self.on_open(client)
    @lock.synchronize { @all += [client] }
    client.write("ready")
  end

  def self.on_close(client) = @lock.synchronize { @all -= [client] }
end

# Writes what it hears to all listeners.
module Broadcaster
  def self.on_message(_client, data)
    Listeners.all.each { |listener| listener.write(data) }
  end
end

# Publishes what it hears in a channel, which the server itself delivers. Iodine has channels, too.
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

# What becomes of a slow reader of these is push_server's to say; it resumes in all others.
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
