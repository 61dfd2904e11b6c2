# frozen_string_literal: true

require_relative "../log"

module PushServer
  # Waits for sources that can be read, and for times that have come, and calls what is to be done then. One thread.
  #
  # An action must not wait. If one raises, the others still run.
  class EventLoop
    # What is to be done at a time, once or again and again.
    Timer = Struct.new(:at, :interval, :action)
    private_constant :Timer

    def initialize
      # By identity, because two timers may be alike.
      @sources = {}.compare_by_identity
      @timers = {}.compare_by_identity
    end

    # Calls the action whenever the source can be read. If the source has the method `unsent?`, its `flush` is called when
    # it can be written.
    # @param source [#to_io]
    def watch(source, &action) = @sources[source] = action

    # Ends {#watch}. To be called before the source is closed.
    def forget(source) = @sources.delete(source)

    # @param seconds [Numeric]
    # @return [Object] for {#cancel}
    def after(seconds, &action) = add(Timer.new(now + seconds, nil, action))

    # @param seconds [Numeric] between two calls
    # @return [Object] for {#cancel}
    def every(seconds, &action) = add(Timer.new(now + seconds, seconds, action))

    # @param timer [Object, nil] what {#after} or {#every} has returned
    def cancel(timer) = @timers.delete(timer)

    # Runs until {#stop}.
    def run
      turn until @stopped
    end

    # Ends {#run} after the action that runs now.
    def stop = @stopped = true

    private

    def turn
      writing = @sources.keys.select { |source| source.respond_to?(:unsent?) && source.unsent? }
      readable, writable = IO.select(@sources.keys, writing, nil, pause)
      writable&.each { |source| PushServer.attempt { source.flush } }
      # What came in is read before the timers: they may look for something that is silent.
      readable&.each { |source| PushServer.attempt { @sources[source]&.call } unless @stopped }
      run_timers
    rescue IOError => e
      # A source was closed while it is still watched. The loop goes on without it.
      closed = @sources.keys.select { |source| source.to_io.closed? }
      raise if closed.empty?

      PushServer.log_exception("going on after an error", e)
      closed.each { |source| forget(source) }
    end

    def run_timers
      time = now
      @timers.keys.select { |timer| timer.at <= time }.each do |timer|
        next if @stopped || !@timers.key?(timer) # one that has run meanwhile has cancelled it

        timer.interval ? timer.at = time + timer.interval : cancel(timer)
        PushServer.attempt(&timer.action)
      end
    end

    # Seconds until the next timer.
    def pause = @timers.keys.map(&:at).min&.then { |at| [at - now, 0].max }

    def add(timer)
      @timers[timer] = true
      timer
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
