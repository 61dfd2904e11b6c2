# frozen_string_literal: true

require "spec_helper"

# Names such as `chat:<uuid>` are used once. The server must not keep them.
RSpec.describe "A million channel names", :full do
  include ChannelClients

  # One arena, as in soak_spec.rb. glibc keeps freed memory below memory in use, unless it is asked to give it back.
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
  # In KiB. What allocators keep varies by a few MiB. If each of a million names left 10 bytes, it would be more.
  tolerance = 8 * 1024

  # Ruby code for each `name`. Old messages are dropped slowly, some thousand channels a second, so this has fewer names.
  uses = {
    "published to" => [names, "PushServer.publish(name, 'x')"],
    "published to, with a history that ends" => [names / 10, "PushServer.publish(\"kept-\#{name}\", 'x')"],
    "subscribed to, published to and left" =>
      [names, "client.subscribe(name); PushServer.publish(name, 'x', except: client); client.unsubscribe(name)"],
    "asked about" => [names, "PushServer.history(name); PushServer.present(name)"]
  }

  # The memory in KiB after all channels but the client's are dropped.
  def memory
    eventually("the channels to be forgotten", seconds: 120) { app.ask("PushServer.stats[:channels]") <= 1 }
    app.ask("3.times { GC.start }; TRIM.call(0); nil")
    app.resident
  end

  uses.each do |title, (count, use)|
    it "that are #{title} once (#{count}) leave no memory in use" do
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
