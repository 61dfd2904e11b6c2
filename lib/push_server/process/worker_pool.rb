# frozen_string_literal: true

module PushServer
  # The Ruby threads that run the app: each is in `reactor.work` until the reactor stops. What changes (a worker has
  # ended before its time, since the app may kill the thread it runs on; a response body occupies one for long, so that
  # another is needed) is noticed on the threads it happens to, and {#mend} acts on it.
  class WorkerPool
    # A worker younger than this did not die of one bad request: its successor waits as long before it starts.
    INFANT = 0.1
    # What a worker killed at the end has for its ensure clauses.
    LAST_WORDS = 1
    MARK = :push_server_worker
    # Seconds between two attempts to start workers while the system gives no threads: the first pause, and the longest.
    PAUSE = 0.1
    LONGEST_PAUSE = 5
    private_constant :INFANT, :LAST_WORDS, :MARK, :PAUSE, :LONGEST_PAUSE

    # Whether the current thread is a worker, of whatever pool. Any thread.
    def self.inside? = !Thread.current.thread_variable_get(MARK).nil?

    # @param reactor [#work, #await_shortage, #workers_left=]
    # @param size [Integer] workers beside those that a long response body occupies
    # @yield whenever there is something to {#mend}, on whatever thread: may not wait
    # @raise [ThreadError]
    def initialize(reactor, size, &on_change)
      @reactor = reactor
      @on_change = on_change
      @pid = Process.pid
      # By the time we hear of a worker's end, its thread may still be alive.
      @changes = Thread::Queue.new
      @threads = {}
      # Workers that are not started yet: number => seconds to wait before they begin.
      @missing = {}
      size.times { add }
      start(*@missing.shift) until @missing.empty?
      @watch = Thread.new { report(:add) while @reactor.await_shortage }
      @watch.name = "push_server watch"
    end

    # Adds, replaces and forgets workers, as is needed. If the system gives no thread, this logs it once and goes on with
    # the workers that there are; the first call after {#pause} tries again. One thread.
    def mend
      until @changes.empty?
        change, number = @changes.pop
        case change
        when :add then add
        when :surplus then @threads.delete(number)
        when :ended then replace(number)
        end
      end
      start_missing unless @missing.empty?
    end

    # Seconds until {#mend} should be called again; nil if it need not be called before something changes. One thread.
    # @return [Numeric, nil]
    def pause = @retry_at && [@retry_at - now, 0].max

    # Waits for all workers to end, kills those that do not, and waits for these too. `reactor.stop` goes before.
    # @param grace [Numeric] seconds before they are killed
    # @return [Boolean] whether all have ended; a thread in native code that does not return cannot be killed
    def end(grace:)
      await(grace)
      @threads.each_value(&:kill)
      @watch.kill
      await(LAST_WORDS)
      @threads.each_value.none?(&:alive?)
    end

    private

    def add
      number = (1..).find { |free| !@threads.key?(free) && !@missing.key?(free) }
      @missing[number] = 0
    end

    def replace(number)
      former = @threads[number]
      PushServer.log(:warn, "worker #{number} ended before its time and is replaced")
      @missing[number] = age(former) < INFANT ? INFANT : 0
    end

    def start(number, wait) = @threads[number] = spawn(number, wait)

    def start_missing
      return count_workers if pause&.positive?

      until @missing.empty?
        start(*@missing.first)
        @missing.shift
      end
      recover if @retry_at
    rescue ThreadError => e
      give_up_for_now(e)
    end

    def give_up_for_now(error)
      left = count_workers
      unless @retry_at
        PushServer.log(:warn, "cannot start a worker: #{error.message}. Going on with #{left} and trying again. " \
                              "Raise the system's limit on threads, or lower --threads")
      end
      @last_pause = @retry_at ? [@last_pause * 2, LONGEST_PAUSE].min : PAUSE
      @retry_at = now + @last_pause
    end

    # Tells the reactor how many workers are left. If none is, it refuses requests.
    def count_workers = @reactor.workers_left = (@threads.keys - @missing.keys).size

    def recover
      @retry_at = nil
      @reactor.workers_left = nil
      PushServer.log(:info, "all workers run again")
    end

    # A new thread inherits the mask of the thread that makes it. So a worker cannot be killed before it can report its end,
    # nor while it does so.
    def spawn(number, wait)
      Thread.handle_interrupt(Object => :never) do
        Thread.new do
          surplus = Thread.handle_interrupt(Object => :immediate) { work(number, wait) }
        ensure
          report(surplus ? :surplus : :ended, number)
        end
      end
    end

    # @return [Boolean] whether this worker ended because there were more than needed
    def work(number, wait)
      Thread.current.name = "push_server worker #{number}"
      Thread.current.report_on_exception = false
      Thread.current.thread_variable_set(MARK, now)
      sleep(wait) if wait.positive?
      @reactor.work
    rescue Exception => e # rubocop:disable Lint/RescueException -- SystemExit would otherwise end the process
      # A fork of this thread that unwinds is the app's own process, and ends as it likes.
      raise if Process.pid != @pid

      PushServer.log_exception("worker #{number}", e)
      false
    end

    def report(change, number = nil)
      return if Process.pid != @pid

      @changes << [change, number]
      @on_change.call
    end

    def await(seconds)
      deadline = now + seconds
      @threads.each_value { |thread| thread.join([deadline - now, 0].max) }
    end

    def age(thread) = now - (thread.thread_variable_get(MARK) || now)

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
