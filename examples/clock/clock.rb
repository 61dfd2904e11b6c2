# frozen_string_literal: true

# Tells everybody the time, once a second. One handler serves all clients, whichever protocol they speak.
class Clock
  def initialize
    @clients = []
    # Callbacks of different clients run on several threads at once.
    @mutex = Mutex.new
  end

  def on_open(client)
    tell(client, time)
    @mutex.synchronize { @clients << client }
  end

  def on_message(client, text)
    tell(client, "You said: #{text}")
  end

  def on_close(client)
    @mutex.synchronize { @clients.delete(client) }
  end

  # Ticks for ever.
  def run
    loop do
      sleep(1 - (Time.now.to_f % 1))
      tick
    end
  end

  private

  # A write never blocks and never raises because a client has gone, so it may be made under the lock.
  def tick
    @mutex.synchronize { @clients.each { |client| tell(client, time) } }
  end

  # Over SSE an event without a name, for the page's onmessage; over WebSocket just the text.
  def tell(client, text) = client.write(text, event: nil)

  def time = Time.now.strftime("%H:%M:%S")
end
