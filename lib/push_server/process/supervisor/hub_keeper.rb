# frozen_string_literal: true

require_relative "backoff"
require_relative "hub_connection"
require_relative "hub_process"

module PushServer
  class Supervisor
    # Keeps one hub running, and connects workers with it. One thread.
    class HubKeeper
      # Seconds that a hub has to hand its log over to the next one, while it answers. One that does not answer is killed
      # earlier, as at any time; see {HubProcess}.
      HANDOVER_TIMEOUT = 20
      # Seconds until what the system has refused is tried again.
      RETRY = 1
      # How many workers that were killed or have crashed a new hub is told of. Clients of their sessions may still come.
      REMEMBERED = 100
      private_constant :HANDOVER_TIMEOUT, :RETRY, :REMEMBERED

      # @return [HubProcess, nil] the one that runs
      attr_reader :process

      # @param parts [Parts]
      # @param publish [Listener, nil] where processes without a server connect
      # @param former [Hash{Symbol => Object}, nil] of a hub that was handed over; see {#handover}
      # @yield when it has ended after {#stop}
      def initialize(parts, publish, former = nil, &on_stop)
        @parts = parts
        @publish = publish
        @on_stop = on_stop
        number = former ? former[:store] : NativeProcess.memory_file("push_server_numbers", NativeHub::STORE_SIZE)
        @store = IO.for_fd(number, "r+b")
        @connections = {}
        # The process numbers of workers that were killed or have crashed, the newest last.
        @died = former&.fetch(:died, nil).to_a
        @backoff = Backoff.new
      end

      # What another one needs to go on after an exec; see {State}.
      # @return [Hash{Symbol => Object}]
      def handover = { store: @store, process: @process&.handover, died: @died }

      # Starts the first hub.
      def start = launch("first")

      # Goes on with the hub that was handed over, after all workers were {#adopt}ed.
      # @param former [Hash{Symbol => Object}]
      def resume(former)
        process = former[:process] or return recover
        @process = HubProcess.new(@parts, process) { |*event| changed(*event) }
      end

      # Remembers a worker that was handed over, and is connected.
      # @param worker [WorkerProcess]
      def adopt(worker) = @connections[worker.process] = HubConnection.new(@parts, worker)

      # Has a new hub, of the version that runs now, take over from the one that runs. Publishers wait meanwhile.
      def replace
        return if @former || @process.nil? || @stopping

        @former = @process
        near, far = Lines.sockets
        launch("recover processes=#{@connections.keys.join(",")} handover", [near])
        @former&.hand_over(far, HANDOVER_TIMEOUT)
      rescue SystemCallError => e
        @former = nil # The hub that runs keeps the log.
        PushServer.log(:error, "the hub is not replaced yet: #{e.message}. It is tried again in #{RETRY} s")
        @parts.events.after(RETRY) { replace }
      ensure
        [near, far].compact.each(&:close)
      end

      # Connects a worker with the hub, and with each hub that comes after it.
      # @param worker [WorkerProcess]
      def attach(worker)
        connection = adopt(worker)
        connection.make(@process) if @process
      end

      # Forgets a worker that has ended.
      def detach(worker)
        connection = @connections.delete(worker.process) or return
        connection.forget
        @died = [*@died, worker.process].last(REMEMBERED) unless worker.drained?
        @process&.tell("gone #{worker.process}#{" drained" if worker.drained?}")
      end

      # Ends the hub. To be called when all others have ended.
      def stop
        @stopping = true
        hubs = [@process, @former].compact
        hubs.empty? ? @on_stop.call : hubs.each(&:stop)
      end

      private

      def launch(first_line, ios = [])
        @process = HubProcess.new(@parts) { |*event| changed(*event) }
        hub = @process
        hub.tell(first_line, ios)
        @died.each { |process| hub.tell("gone #{process}") }
        hub.start(@store, @publish&.socket)
        @connections.each_value { |connection| connection.make(hub) } unless hub.ended?
      end

      def changed(hub, event, detail)
        case event
        when :lost then @connections[detail]&.lost(hub) if hub.equal?(@process)
        when :ended then ended(hub, detail)
        end
      end

      def ended(hub, how)
        hub.equal?(@former) ? @former = nil : @process = nil
        return if @process # to which the former one has handed over
        return @former.kill if @former # Two hubs must not run, and the new one has ended first.
        return @on_stop.call if @stopping

        @parts.slots.count(:hub_restarts)
        recover_later("the #{hub} ended #{how}", hub.age)
      end

      # @param age [Numeric] seconds that the hub before has run
      def recover_later(why, age)
        wait = @backoff.next(age)
        PushServer.log(:error, "#{why}. It is started again #{Backoff.describe(wait)}")
        @parts.events.after(wait) { recover unless @stopping || @process }
      end

      # A new hub collects from the workers what the former one knew.
      def recover
        launch("recover processes=#{@connections.keys.join(",")}")
      rescue SystemCallError => e
        recover_later("cannot start the hub: #{e.message}", 0)
      end
    end
  end
end
