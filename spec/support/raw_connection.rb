# frozen_string_literal: true

require "socket"
require_relative "deadline"

# A TCP connection of which a spec controls every byte and every way to end it. All reads have a deadline.
class RawConnection
  # The peer ended the stream (cleanly or by a reset) while more bytes were awaited.
  Ended = Class.new(StandardError)

  READ_SIZE = 64 * 1024

  attr_reader :socket

  # receive_buffer: size in bytes of the kernel's buffer, to be set before the connection is made; a small one makes
  # a peer that does not read felt by the server at once. segment: the largest TCP segment in bytes; by it the server's
  # kernel chooses how much it takes for a peer that does not read: megabytes on loopback, 100 KB with small segments.
  def initialize(port, host: "127.0.0.1", receive_buffer: nil, segment: nil)
    address = Addrinfo.tcp(host, port)
    @socket = Socket.new(address.afamily, Socket::SOCK_STREAM)
    @socket.setsockopt(:SOCKET, :RCVBUF, receive_buffer) if receive_buffer
    @socket.setsockopt(:TCP, :MAXSEG, segment) if segment
    @socket.connect(address)
    @socket.setsockopt(:TCP, :NODELAY, true)
    @buffer = String.new(encoding: Encoding::BINARY)
    @ending = nil
  end

  # Sends all bytes, waiting for the peer to take them.
  def write(bytes, seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    rest = bytes.b
    until rest.empty?
      sent = @socket.write_nonblock(rest, exception: false)
      if sent == :wait_writable
        @socket.wait_writable(deadline.remaining) or deadline.check!("the peer to read")
      else
        rest = rest.byteslice(sent..)
      end
    end
    self
  end

  # Sends all bytes, or as many as the peer takes before it ends the connection.
  def offer(bytes, **deadline)
    write(bytes, **deadline)
  rescue Errno::EPIPE, Errno::ECONNRESET
    self
  end

  # Sends what the kernel takes at once; returns the number of bytes, 0 when the peer's buffers are full.
  def write_some(bytes)
    sent = @socket.write_nonblock(bytes, exception: false)
    sent == :wait_writable ? 0 : sent
  end

  # Up to and including the first occurrence of the separator.
  def read_until(separator, seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    fill(deadline, separator.inspect) until (at = @buffer.index(separator))
    @buffer.slice!(0, at + separator.bytesize)
  end

  def read_exactly(count, seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    fill(deadline, "#{count} bytes") while @buffer.bytesize < count
    @buffer.slice!(0, count)
  end

  # Waits until something has come, and returns all of it. Raises Ended at the end of the stream.
  def read_available(seconds: Deadline::PATIENCE)
    fill(Deadline.in(seconds), "anything") if @buffer.empty?
    @buffer.slice!(0..)
  end

  # Everything until the peer ends the stream.
  def read_to_end(seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    receive(deadline, "the end of the stream") until @ending
    @buffer.slice!(0..)
  end

  # How the peer ended the stream: :fin or :reset. Bytes that come before the end are kept for the read methods.
  def ending(seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    receive(deadline, "the end of the stream") until @ending
    @ending
  end

  # Takes at most so many bytes from the kernel and keeps them for the read methods. Does not wait. Returns how many they
  # were, or :ended.
  def take_from_kernel(count)
    return :ended if @ending

    case (bytes = @socket.read_nonblock(count, exception: false))
    when :wait_readable then 0
    when nil then @ending = :fin and :ended
    else
      @buffer << bytes
      bytes.bytesize
    end
  rescue Errno::ECONNRESET
    @ending = :reset
    :ended
  end

  # True when the peer has sent something, or ended the stream, that was not read yet. Does not wait.
  def anything?
    !@buffer.empty? || !@ending.nil? || !@socket.wait_readable(0).nil?
  end

  # FIN in our direction only: the peer may still write.
  def finish_writing = @socket.close_write

  # Ends the connection with a FIN (if nothing unread is left in the kernel's buffer).
  def close = @socket.close

  # Ends the connection with a RST, as a peer does that crashed or whose network went.
  def reset
    @socket.setsockopt(Socket::Option.linger(true, 0))
    @socket.close
  end

  def closed? = @socket.closed?

  private

  def fill(deadline, awaited)
    receive(deadline, awaited)
    return unless @ending

    raise Ended, "the stream ended (#{@ending}) while waiting for #{awaited}; unread: #{@buffer.byteslice(0, 500).inspect}"
  end

  def receive(deadline, awaited)
    return if @ending

    case (bytes = @socket.read_nonblock(READ_SIZE, exception: false))
    when :wait_readable
      @socket.wait_readable(deadline.remaining) or
        raise Deadline::Missed, "gave up waiting for #{awaited}; unread: #{@buffer.byteslice(0, 500).inspect}"
    when nil then @ending = :fin
    else @buffer << bytes
    end
  rescue Errno::ECONNRESET
    @ending = :reset
  end
end
