# frozen_string_literal: true

require "spec_helper"

RSpec.describe "Writes from threads of the app" do
  serve <<~'CONFIG', "--threads", "4"
    require "spec_app"

    # Knows its clients, as a chat room does.
    class Room
      def initialize
        @clients = []
        @mutex = Mutex.new
      end

      def on_open(client)
        @mutex.synchronize { @clients << client }
        SpecApp.report(:open, client)
      end

      def on_close(client) = @mutex.synchronize { @clients.delete(client) }

      # Each thread writes numbered lines to all clients.
      def broadcast(threads:, rounds:)
        Array.new(threads) do |thread|
          Thread.new do
            rounds.times do |round|
              @mutex.synchronize { @clients.dup }.each { |client| client.write("#{thread}:#{round}") }
            end
          end
        end.each(&:join)
        @mutex.synchronize { @clients.dup }.each { |client| client.write("end") }
        nil
      end
    end

    ROOM = Room.new
    run(lambda do |env|
      env["rack.upgrade"] = ROOM if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  # Clients that come and go, with and without a closing handshake, until the block has returned.
  def with_visitors
    leaving = false
    visitors = Thread.new do
      %i[close reset finish].cycle do |way|
        break if leaving

        WebSocketClient.new(app.address, "/?visitor").public_send(way)
        SseClient.new(app.address, "/?visitor").public_send(way == :finish ? :close : way)
      end
    end
    yield
  ensure
    leaving = true
    visitors.join
  end

  def received(client)
    lines = []
    lines << line(client) until lines.last == "end"
    lines[..-2].group_by { |text| text.split(":").first }.transform_values { |texts| texts.map { |text| text.split(":").last.to_i } }
  end

  def line(client) = client.is_a?(SseClient) ? client.read_event.data : client.read_message

  # Every client that stayed got every line of every thread, in that thread's order.
  def expect_nothing_lost(clients, threads:, rounds:)
    clients.each { |client| event(:open, client) }
    with_visitors { app.ask("ROOM.broadcast(threads: #{threads}, rounds: #{rounds})", seconds: 60) }
    expected = (0...threads).to_h { |thread| [thread.to_s, (0...rounds).to_a] }
    clients.each { |client| expect(received(client)).to eq(expected) }
  end

  it "reach 200 clients completely and in order, from 20 threads, while other clients come and go" do
    clients = Array.new(150) { websocket } + Array.new(50) { sse }
    expect_nothing_lost(clients, threads: 20, rounds: 15)
  end

  it "reach all clients completely under GC.stress" do
    clients = Array.new(3) { websocket } + Array.new(2) { sse }
    app.ask("GC.stress = true; nil", seconds: 60)
    expect_nothing_lost(clients, threads: 4, rounds: 5)
  ensure
    app.ask("GC.stress = false; nil", seconds: 60)
  end

  it "reach clients after many garbage collections" do
    clients = Array.new(20) { websocket }
    clients.each { |client| event(:open, client) }
    app.ask("10.times { GC.start; GC.compact if GC.respond_to?(:compact) }; nil", seconds: 60)
    app.ask("ROOM.broadcast(threads: 1, rounds: 1)")
    clients.each { |client| expect(received(client)).to eq("0" => [0]) }
  end
end
