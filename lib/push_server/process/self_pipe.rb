# frozen_string_literal: true

require "io/wait"

module PushServer
  # Carries single-byte notes from signal handlers and any thread to the one thread that waits for them. A handler may
  # interrupt anything, so it must not lock; writing to a pipe is all it does.
  #
  # A process forked from this one shares the pipe and must not speak through it: there, {#notify} does nothing.
  class SelfPipe
    def initialize
      @reader, @writer = IO.pipe
      @pid = Process.pid
    end

    # Async-signal-safe; never blocks; drops the note when nobody has read for 64 KiB, or after {#close}.
    # @param note [String] one byte
    def notify(note)
      @writer.write_nonblock(note, exception: false) if Process.pid == @pid
      nil
    rescue IOError, SystemCallError
      nil
    end

    # Waits for notes.
    # @param timeout [Numeric, nil] seconds; nil waits for ever
    # @return [String, nil] the notes in order; nil if none came in time, or when the pipe is closed
    def wait(timeout = nil)
      return nil unless @reader.wait_readable(timeout)

      notes = @reader.read_nonblock(256, exception: false)
      notes if notes.is_a?(String)
    rescue IOError
      nil
    end

    # Ends {#wait}, in whatever thread.
    def close
      # Not the writer alone: a forked child may hold another end of it, and then there is no end of file.
      [@reader, @writer].each(&:close)
      nil
    end
  end
end
