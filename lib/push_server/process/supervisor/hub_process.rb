# frozen_string_literal: true

require_relative "../forking"
require_relative "../hub"
require_relative "child"

module PushServer
  class Supervisor
    # The supervisor's view of a hub. They exchange {Lines} of words. One thread.
    class HubProcess < Child
      # Seconds without an answer, until it is killed; and between two questions.
      TIMEOUT = 10
      INTERVAL = 1
      # Seconds that it has to end.
      PATIENCE = 5
      private_constant :TIMEOUT, :INTERVAL, :PATIENCE

      # @param former [Hash{Symbol => Object}, nil] of a hub that was handed over; see {#handover}
      # @yieldparam hub [HubProcess] this
      # @yieldparam event [:lost, :ended]
      # @yieldparam detail [Integer, String] the process number of a worker whose connection is lost, or how the hub has ended
      def initialize(parts, former = nil, &on_event)
        super(parts, *(former ? [Lines.restore(former[:link], waits: false), nil] : new_link))
        @on_event = on_event
        @asked = 0
        resume(former) if former
        @questions = parts.events.every(INTERVAL) { ask }
      end

      # @return [String] its name in the log
      def name = "hub"

      # Forks it. The supervisor is small, so this is cheap.
      # @param store [IO] the numbers, which outlive a hub
      # @param publish [Socket, nil] the socket for processes without a server
      def start(store, publish)
        metrics = parts.metrics.listeners.map(&:socket)
        files = { store: store, publish: publish, metrics: metrics, statistics: parts.slots.file }
        running(Forking.fork { Hub.run(@far_link.to_io, files, parts.options.settings, parts.tag) })
        @far_link.close
      rescue SystemCallError => e
        PushServer.log(:error, "cannot start the hub: #{e.message}")
        finish("before it had a pid")
      end

      # Tells it something.
      # @param words [String]
      # @param ios [Array<IO>]
      # @raise [SystemCallError] if these cannot be sent
      def tell(words, ios = []) = sending { link.write(words, ios) }

      # Has it hand its log over to the hub that takes its place, and end.
      # @param socket [IO] to the other hub
      # @param seconds [Numeric] how long that may take
      def hand_over(socket, seconds)
        tell("handover", [socket])
        kill_after(seconds) { give_up("it has not handed its log over within #{seconds} s") }
      rescue SystemCallError => e
        give_up("it cannot hand its log over: #{e.message}")
      end

      # Has it end.
      def stop
        tell("stop")
        kill_after(PATIENCE)
      end

      private

      def new_link
        near, far = Lines.sockets
        [Lines.new(near, waits: false), Lines.new(far, waits: true)]
      end

      # @return [String, nil, :eof]
      def next_message = link.read(0)

      def received(line)
        words = line.force_encoding(Encoding::UTF_8).scrub
        case words
        when /\Apong / then @asked = 0
        when /\Alost (\d+)\z/ then @on_event.call(self, :lost, $1.to_i)
        when /\Alog (\w+) (.*)/ then PushServer.log($1.to_sym, $2)
        end
      end

      def ask
        # Questions are counted, because the time in which the supervisor was suspended does not count.
        return give_up("it has not answered for #{TIMEOUT} s") if @asked.to_i >= TIMEOUT / INTERVAL

        @asked = @asked.to_i + 1
        tell("ping #{@asked}")
      end

      def finished(how)
        parts.events.cancel(@questions)
        @on_event.call(self, :ended, how)
      end
    end
  end
end
