# frozen_string_literal: true

# Sends the time to all clients once a second. One handler serves the clients of both protocols.
class Clock
  def initialize
    @clients = []
    # Callbacks of different clients run on several threads at the same time.
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

  # Runs on a thread of its own, unless it does so already. With `-w 2` each worker has a clock of its own, for its own clients.
  # So this is called for a request: what starts while the app is loaded runs in the process that loads it, and not in the
  # workers.
  def start
    @mutex.synchronize { @thread ||= Thread.new { run } }
  end

  # Runs for ever.
  def run
    loop do
      sleep(1 - (Time.now.to_f % 1))
      tick
    end
  end

  private

  # A write never blocks, and never raises if a client has gone. So it is allowed while the lock is held.
  def tick
    @mutex.synchronize { @clients.each { |client| tell(client, time) } }
  end

  # Over SSE this is an event without a name, for the page's onmessage. Over WebSocket it is the text alone.
  def tell(client, text) = client.write(text, event: nil)

  def time = Time.now.strftime("%H:%M:%S")
end
