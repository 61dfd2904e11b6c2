# frozen_string_literal: true

require_relative "../config/hooks"

module PushServer
  # The Ruby threads that run the app. Each is in `native.work` until the native server stops.
  #
  # A thread may end early, because the app may kill it. And a response body may occupy it for long, so that another one is
  # needed. The threads that notice this report it, and {#respawn} acts on it.
  class ThreadPool
    # Seconds. A thread that lived for less did not end because of one bad request, so its successor waits as long.
    RESPAWN_DELAY = 0.1
    # Seconds that a killed thread has for its ensure clauses.
    KILL_TIMEOUT = 1
    # The thread variable of threads: the time when they began.
    BEGAN_AT = :push_server_thread
    # Seconds between two attempts to start threads while the system gives no threads: at first, and at most.
    RETRY_DELAY = 0.1
    MAX_RETRY_DELAY = 5
    private_constant :RESPAWN_DELAY, :KILL_TIMEOUT, :BEGAN_AT, :RETRY_DELAY, :MAX_RETRY_DELAY

    # Whether the current thread is one of any pool. Any thread.
    def self.inside? = !Thread.current.thread_variable_get(BEGAN_AT).nil?

    # @param native [#work, #await_shortage, #threads_left=]
    # @param size [Integer] threads beside those that a long response body occupies
    # @param hooks [Hooks] before_thread_start and before_thread_exit run on each thread
    # @yield on any thread, when {#respawn} is to be called; must not wait
    # @raise [ThreadError]
    def initialize(native, size, hooks: Hooks::NONE, &on_change)
      @native = native
      @hooks = hooks
      @on_change = on_change
      @pid = Process.pid
      # What the threads report. When a thread reports its end, it is still alive.
      @changes = Thread::Queue.new
      @threads = {}
      # Threads that are not started yet: number => seconds to wait before they begin.
      @missing = {}
      size.times { add }
      start(*@missing.shift) until @missing.empty?
      @watch = Thread.new { report(:add) while @native.await_shortage }
      @watch.name = "push_server watch"
    end

    # Adds, replaces and forgets threads, as is needed. If the system gives no thread, this logs it once and goes on with
    # the threads that there are; the first call after {#respawn_delay} tries again. One thread.
    def respawn
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

    # Seconds until {#respawn} is to be called again; nil if that is not needed before the next change. One thread.
    # @return [Numeric, nil]
    def respawn_delay = @retry_at && [@retry_at - now, 0].max

    # Waits for all threads to end, kills those that do not, and waits for these too. Call `native.stop` before.
    # @param timeout [Numeric] seconds before they are killed
    # @return [Boolean] whether all have ended; a thread in native code that does not return cannot be killed
    def end(timeout:)
      await(timeout)
      @threads.each_value(&:kill)
      @watch.kill
      await(KILL_TIMEOUT)
      @threads.each_value.none?(&:alive?)
    end

    private

    def add
      number = (1..).find { |free| !@threads.key?(free) && !@missing.key?(free) }
      @missing[number] = 0
    end

    def replace(number)
      former = @threads[number]
      PushServer.log(:warn, "thread #{number} of the app ended unexpectedly and is replaced")
      @missing[number] = age(former) < RESPAWN_DELAY ? RESPAWN_DELAY : 0
    end

    def start(number, delay) = @threads[number] = spawn(number, delay)

    def start_missing
      return count_threads if respawn_delay&.positive?

      until @missing.empty?
        start(*@missing.first)
        @missing.shift
      end
      recover if @retry_at
    rescue ThreadError => e
      retry_later(e)
    end

    def retry_later(error)
      left = count_threads
      unless @retry_at
        PushServer.log(:warn, "cannot start a thread for the app: #{error.message}. Going on with #{left} and trying " \
                              "again. Raise the system's limit on threads, or lower --threads")
      end
      @retry_delay = @retry_at ? [@retry_delay * 2, MAX_RETRY_DELAY].min : RETRY_DELAY
      @retry_at = now + @retry_delay
    end

    # Tells the native server how many threads are left. If none is left, the server refuses requests.
    def count_threads = @native.threads_left = (@threads.keys - @missing.keys).size

    def recover
      @retry_at = nil
      @native.threads_left = nil
      PushServer.log(:info, "all threads of the app run again")
    end

    # A new thread inherits the interrupt mask of the thread that makes it. So a thread cannot be killed before it can
    # report its end, nor while it reports.
    def spawn(number, delay)
      Thread.handle_interrupt(Object => :never) do
        Thread.new do
          surplus = Thread.handle_interrupt(Object => :immediate) { work(number, delay) }
        ensure
          report(surplus ? :surplus : :ended, number)
        end
      end
    end

    # @return [Boolean] whether this thread ended because there were more than needed
    def work(number, delay)
      Thread.current.name = "push_server thread #{number}"
      Thread.current.report_on_exception = false
      Thread.current.thread_variable_set(BEGAN_AT, now)
      sleep(delay) if delay.positive?
      @hooks.call(:before_thread_start)
      begin
        @native.work
      ensure
        # Not in a process that the app has forked on this thread.
        @hooks.call(:before_thread_exit) if Process.pid == @pid
      end
    rescue Exception => e # rubocop:disable Lint/RescueException -- SystemExit would otherwise end the process
      # If the app forks here, the child has this thread. The child is the app's, and ends as the app wants.
      raise if Process.pid != @pid

      PushServer.log_exception("thread #{number} of the app", e)
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

    def age(thread) = now - (thread.thread_variable_get(BEGAN_AT) || now)

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
