# frozen_string_literal: true

# Start it with `bin/push_server examples/ticker/config.ru`, or with `rackup` in this folder, and open
# http://localhost:9292/.
#
# Prices come faster than a slow client reads them. Such a client should get the newest prices, not all prices with a growing
# delay.

require "json"
require "push_server"
require_relative "../one_worker"

# There is a channel for each share. A client that is behind skips to the newest message of each channel. The channel keeps one
# message, so that another worker can go on from there.
PushServer.channel "ticker:*", slow: :latest, history: 1

# Made-up shares, with their order books.
class Exchange
  SHARES = { "ACME" => 182.4, "GLOBEX" => 64.1, "HOOLI" => 311.7, "INITECH" => 28.9, "STARK" => 540.2, "WAYNE" => 97.5 }.freeze
  EVERY = 0.02
  DEPTH = 500

  # Goes on from the last prices of the worker that has done this before. They have arrived after a moment.
  def run
    sleep EVERY * 10
    read_last_prices
    loop do
      SHARES.each_key { |name| trade(name) }
      sleep EVERY
    end
  end

  private

  def read_last_prices
    @prices = SHARES.dup
    @counts = SHARES.transform_values { 0 }
    SHARES.each_key do |name|
      last = PushServer.history("ticker:#{name}", limit: 1).last or next
      @prices[name], @counts[name] = JSON.parse(last.data).values_at("price", "n")
    end
  end

  def trade(name)
    price = @prices[name] = (@prices[name] * (1 + rand(-0.0012..0.0012))).clamp(1, 9999).round(2)
    book = Array.new(DEPTH) { |depth| [(price - 2.5 + (depth * 0.01)).round(2), rand(1..900)] }
    at = (Time.now.to_f * 1000).round
    PushServer.publish("ticker:#{name}", { name: name, price: price, n: @counts[name] += 1, at: at, book: book },
                       event: "price")
  end
end

module Trader
  def self.on_open(client) = Exchange::SHARES.each_key { |name| client.subscribe("ticker:#{name}") }
end

# One worker trades, and the clients of all workers get the prices.
trading = OneWorker.new("ticker") { Exchange.new.run }

map("/push.js") { run PushServer::Javascript }

run(lambda do |env|
  trading.start
  case env["PATH_INFO"]
  when "/" then [200, { "content-type" => "text/html; charset=utf-8" }, [File.read(File.join(__dir__, "index.html"))]]
  when "/prices"
    env["rack.upgrade"] = Trader
    [env["rack.upgrade?"] ? 200 : 404, {}, []]
  else [404, {}, []]
  end
end)
