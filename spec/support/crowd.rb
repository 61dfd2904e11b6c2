# frozen_string_literal: true

# An app that writes much to all its clients, some of which never read. For specs of max_queued_total, the bound over all
# queues together.
module Crowd
  # The app's config.ru.
  CONFIG = <<~'CONFIG'
    require "push_server"
    require "spec_app"

    class Listener
      def on_open(client)
        SpecApp.remember(client)
        SpecApp.report(:open, client)
      end

      def on_close(client, code, _) = SpecApp.report(:close, client, code: code)
    end

    module Broadcast
      module_function

      # Writes to all clients in each round, `pace` bytes a second. Ruby's garbage of a round, 1.6 MiB for 100 clients, is
      # collected after it: how much of it Ruby lets grow, 20 MiB or 40, depends on how much code the process has loaded.
      def run(rounds, size, pace)
        clients = SpecApp.clients
        rounds.times do |number|
          began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
          clients.each { |client| client.write(number.to_s.ljust(size)) }
          GC.start
          used = Process.clock_gettime(Process::CLOCK_MONOTONIC) - began
          sleep [(clients.size * size).fdiv(pace) - used, 0].max
        end
        nil
      end
    end

    run(lambda do |env|
      env["rack.upgrade"] = Listener.new if env["rack.upgrade?"]
      [200, {}, []]
    end)
  CONFIG

  # A client that never reads, with small buffers in the kernel.
  def silent_client = opened(websocket("/", receive_buffer: 4096, segment: 1000))

  # Reads that many messages in the background. The thread's value is their numbers, or the error.
  def reading(client, count)
    Thread.new do
      Array.new(count) { (client.is_a?(SseClient) ? client.read_event.data : client.read_message).to_i }
    rescue StandardError => e
      e
    end
  end

  # The app's memory in KiB, after a collection of Ruby's garbage.
  def resident
    app.ask("3.times { GC.start }; nil")
    app.resident
  end

  # Returns the highest value of a counter of the server while the block ran, and the most memory in KiB.
  def most_of(counter)
    done = false
    watch = Thread.new do
      most = [0, 0]
      until done
        most = [app.ask("PushServer.stats[#{counter.inspect}]"), app.resident].zip(most).map(&:max)
        sleep Eventually::POLL
      end
      most
    end
    yield
    done = true
    watch.value
  ensure
    done = true
  end
end
