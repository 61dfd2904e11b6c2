# frozen_string_literal: true

module PushServer
  # The Ruby threads that run the app: each is in `reactor.work` until the reactor stops. A thread that ends before its
  # time (the app may kill the thread it runs on) is noticed, and {#mend} replaces it.
  class WorkerPool
    # A worker younger than this did not die of one bad request: its successor waits as long before it starts.
    INFANT = 0.1
    # What a worker killed at the end has for its ensure clauses.
    LAST_WORDS = 1
    MARK = :push_server_worker
    private_constant :INFANT, :LAST_WORDS, :MARK

    # Whether the current thread is a worker, of whatever pool. Any thread.
    def self.inside? = !Thread.current.thread_variable_get(MARK).nil?

    # @param reactor [#work]
    # @param size [Integer]
    # @yield whenever a worker has ended, on that thread: may not wait
    def initialize(reactor, size, &on_end)
      @reactor = reactor
      @on_end = on_end
      @pid = Process.pid
      # Numbers of workers that ended: by the time we hear of one, its thread may still be alive.
      @ended = Thread::Queue.new
      @threads = Array.new(size) { |index| spawn(index + 1) }
    end

    # Replaces the workers that ended.
    def mend
      until @ended.empty?
        number = @ended.pop
        former = @threads[number - 1]
        PushServer.log(:warn, "worker #{number} ended before its time and is replaced")
        @threads[number - 1] = spawn(number, wait: age(former) < INFANT ? INFANT : 0)
      end
    end

    # Waits for all workers to end, kills those that do not, and waits for these too. `reactor.stop` goes before.
    # @param grace [Numeric] seconds before they are killed
    # @return [Boolean] whether all have ended; a thread in native code that does not return cannot be killed
    def end(grace:)
      await(grace)
      @threads.each(&:kill)
      await(LAST_WORDS)
      @threads.none?(&:alive?)
    end

    private

    def spawn(number, wait: 0)
      Thread.new do
        Thread.current.name = "push_server worker #{number}"
        Thread.current.report_on_exception = false
        Thread.current.thread_variable_set(MARK, now)
        sleep(wait) if wait.positive?
        @reactor.work
      rescue Exception => e # rubocop:disable Lint/RescueException -- SystemExit would otherwise end the process
        # A fork of this thread that unwinds is the app's own process, and ends as it likes.
        raise if Process.pid != @pid

        PushServer.log_exception("worker #{number}", e)
      ensure
        if Process.pid == @pid
          @ended << number
          @on_end.call
        end
      end
    end

    def await(seconds)
      deadline = now + seconds
      @threads.each { |thread| thread.join([deadline - now, 0].max) }
    end

    def age(thread) = now - (thread.thread_variable_get(MARK) || now)

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
