# frozen_string_literal: true

require_relative "backoff"
require_relative "hub_process"

module PushServer
  class Supervisor
    # Keeps one hub running, and connects workers with it. One thread.
    class HubKeeper
      # @return [HubProcess, nil] the one that runs
      attr_reader :process

      # @param parts [Parts]
      # @param publish [Listener, nil] where processes without a server connect
      # @yield when it has ended after {#stop}
      def initialize(parts, publish, &on_stop)
        @parts = parts
        @publish = publish
        @on_stop = on_stop
        @store = IO.for_fd(NativeProcess.memory_file("push_server_numbers", NativeHub::STORE_SIZE), "r+b")
        @workers = {}
        @backoff = Backoff.new
      end

      # Starts the first hub.
      def start = launch("first")

      # Connects a worker with the hub, and with each hub that comes after it.
      # @param worker [WorkerProcess]
      def attach(worker)
        @workers[worker.process] = worker
        connect(worker) if @process
      end

      # Forgets a worker that has ended.
      def detach(worker)
        @process&.tell("gone #{worker.process}") if @workers.delete(worker.process)
      end

      # Ends the hub. To be called when all others have ended.
      def stop
        @stopping = true
        @process ? @process.stop : @on_stop.call
      end

      private

      def launch(first_line)
        @process = HubProcess.new(@parts) { |how| ended(how) }
        hub = @process
        hub.tell(first_line)
        hub.start(@store, @publish&.socket)
        @workers.each_value { |worker| connect(worker) } unless hub.ended?
      end

      # Gives both ends of a new connection away.
      def connect(worker)
        near, far = Lines.sockets
        @process.tell("worker #{worker.process} #{worker.generation}", [near])
        worker.tell("hub", [far])
      ensure
        [near, far].compact.each(&:close)
      end

      def ended(how)
        age = @process.age
        former, @process = @process, nil
        return @on_stop.call if @stopping

        wait = @backoff.next(age)
        PushServer.log(:error, "the #{former} ended #{how}. It is started again #{Backoff.describe(wait)}")
        # A new hub collects from these what the former one knew.
        @parts.events.after(wait) { launch("recover processes=#{@workers.keys.join(",")}") unless @stopping }
      end
    end
  end
end
