# frozen_string_literal: true

require "io/wait"

module PushServer
  # Carries events, each a single byte, from signal handlers and any thread to the one thread that waits for them. A signal
  # handler may interrupt code that holds a lock, so it must not take one. It can write to a pipe.
  #
  # A process forked from this one shares the pipe, but must not write to it: there, {#notify} does nothing.
  class SelfPipe
    def initialize
      @reader, @writer = IO.pipe
      @pid = Process.pid
    end

    # @return [IO] to wait for events with IO.select
    def to_io = @reader

    # Async-signal-safe; never blocks. The event is lost if 64 KiB of them wait to be read, or after {#close}.
    # @param event [String] one byte
    def notify(event)
      @writer.write_nonblock(event, exception: false) if Process.pid == @pid
      nil
    rescue IOError, SystemCallError
      nil
    end

    # Waits for events.
    # @param timeout [Numeric, nil] seconds; nil waits for ever
    # @return [String, nil] the events in order; nil if none came in time, or when the pipe is closed
    def wait(timeout = nil)
      return nil unless @reader.wait_readable(timeout)

      events = @reader.read_nonblock(256, exception: false)
      events if events.is_a?(String)
    rescue IOError
      nil
    end

    # Ends {#wait} in another thread.
    def close
      # Both ends: a forked child may have the writer, too, and then closing it here would not end a read.
      [@reader, @writer].each(&:close)
      nil
    end
  end
end
