# frozen_string_literal: true

require "spec_helper"

# Names such as `chat:<uuid>` are used once and never again: they must not stay.
RSpec.describe "A million channel names, each used once", :full do
  include ChannelClients

  # One arena, as in the soak. What was freed below something that is still in use glibc keeps all the same, unless it is
  # asked to give it back.
  serve <<~CONFIG + ChannelClients::APP, "--threads", "2", "--ping-interval", "3600", env: { "MALLOC_ARENA_MAX" => "1" }
    require "push_server"
    require "fiddle"

    PushServer.channel "kept*", history: 1, ttl: 1

    TRIM = begin
      Fiddle::Function.new(Fiddle::Handle::DEFAULT["malloc_trim"], [Fiddle::TYPE_SIZE_T], Fiddle::TYPE_INT)
    rescue Fiddle::DLError
      ->(_) {}
    end
  CONFIG

  names = Integer(ENV.fetch("SOAK_NAMES", 1_000_000))
  rounds = 10
  # KiB: what allocators keep varies by a few MiB, and 10 bytes left by each of a million names would be more.
  tolerance = 8 * 1024

  # What is done with each `name`, in Ruby. Old messages go by and by, some thousand channels a second: so there are fewer.
  uses = {
    "published to" => [names, "PushServer.publish(name, 'x')"],
    "published to, with a history that ends" => [names / 10, "PushServer.publish(\"kept-\#{name}\", 'x')"],
    "subscribed to, published to and left" =>
      [names, "client.subscribe(name); PushServer.publish(name, 'x', except: client); client.unsubscribe(name)"],
    "asked about" => [names, "PushServer.history(name); PushServer.present(name)"]
  }

  # KiB of memory once all channels but the client's own are forgotten.
  def memory
    eventually("the channels to be forgotten", seconds: 120) { app.ask("PushServer.stats[:channels]") <= 1 }
    app.ask("3.times { GC.start }; TRIM.call(0); nil")
    app.resident
  end

  uses.each do |title, (count, use)|
    it "that were #{title} (#{count}) leave nothing behind" do
      skip "There is no /proc here" unless app.resident

      client = subscriber(WebSocketClient, "stays")
      sizes = [memory]
      rounds.times do |round|
        ask(client, "#{count / rounds}.times { |number| name = \"once-#{round}-\#{number}-8c5f5f1e-6c0b-4d8e\"; #{use} }; nil", seconds: 120)
        sizes << memory
      end
      RSpec.configuration.reporter.message("    KiB of memory after each round: #{sizes.join(", ")}")
      expect(sizes.last).to be <= sizes.first + tolerance
      publish("stays", "still here")
      expect(client.read_message).to eq("still here")
    end
  end
end
