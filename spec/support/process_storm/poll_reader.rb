# frozen_string_literal: true

require_relative "reader"

class ProcessStorm
  # A client of long polls. It makes a new connection for each poll, so its polls reach all workers.
  class PollReader < Reader
    # Seconds that a poll waits for a message.
    WAIT = 3

    def initialize(...)
      super
      @ticket = nil
    end

    private

    def begin_connection
      super
      # Bytes of the answer, and how many of them are read.
      @length, @consumed = nil, 0
      @open = true
    end

    def target = "#{super}&push_wait=#{WAIT}"
    def resume_id = @ticket

    # A position of the client: a cursor, and at the end of an answer also the session.
    def position(id)
      @ticket = id if id
      id && id[/\A[^.]+/]
    end

    # The answer has ended, and the connection with it. The next poll follows at once, or after a while.
    def hop
      close
      return if done?

      @paused = false
      @due = ProcessStorm.now + (@staying || @random.rand(8).positive? ? 0 : @random.rand * AWAY)
    end

    def cut(error)
      return if @socket.nil?

      where = @head ? "after #{@consumed} of #{@length} bytes of its answer" : "unanswered"
      @cuts << [ProcessStorm.now, "#{error || "end"} of a poll, #{where}"]
      away
    end

    def parse
      read_head unless @head
      return unless @head && @socket

      ended = @chunks ? read_chunks : @consumed + @in.bytesize >= @length
      before = @in.bytesize
      read_blocks
      @consumed += before - @in.bytesize
      hop if ended && @socket
    end

    def read_head
      super
      @length = Integer(@head[/^content-length: *(\d+)\r$/i, 1], 10) if @socket && @head && !@chunks
    end

    def leave
      return plan if @staying

      reset if @random.rand(2).zero?
      away
    end

    # The last block of an answer has nothing but the client's position. It is behind the messages of the answer.
    def unnamed(id)
      @cursor = id
      @heard = ProcessStorm.now
    end
  end
end
