# frozen_string_literal: true

require "socket"
require_relative "deadline"
require_relative "tls_address"

# A connection over TCP or a Unix socket, or with TLS over TCP (see TlsAddress). The spec controls each byte that is sent, and how
# the connection ends. All reads have a deadline.
class RawConnection
  # The peer closed or reset the connection while more bytes were awaited.
  Ended = Class.new(StandardError)

  # What `new` raises when nothing listens at the address any more. A Unix socket's file is gone then.
  REFUSED = [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ENOENT].freeze

  READ_SIZE = 64 * 1024

  # The socket; with TLS it is not what is read and written.
  attr_reader :socket
  # An OpenSSL::SSL::SSLSocket, if there is one.
  attr_reader :tls

  # address: an Addrinfo, or a port of 127.0.0.1. The other two make the server notice soon that its peer does not read.
  # Unix sockets have neither: there, the server's own send buffer is the only one. receive_buffer: size in bytes of the
  # kernel's buffer, set before the connection is made. segment: the largest TCP segment in bytes, by which the server's
  # kernel chooses how much it buffers: megabytes on loopback, 100 KB with small segments. from: the client's own address.
  def initialize(address, receive_buffer: nil, segment: nil, from: nil)
    address = Addrinfo.tcp("127.0.0.1", address) if address.is_a?(Integer)
    @socket = Socket.new(address.afamily, Socket::SOCK_STREAM)
    @tcp = address.ip?
    if @tcp
      @socket.setsockopt(:SOCKET, :RCVBUF, receive_buffer) if receive_buffer
      @socket.setsockopt(:TCP, :MAXSEG, segment) if segment
      @socket.setsockopt(:TCP, :NODELAY, true)
    end
    @socket.bind(Addrinfo.tcp(from, 0)) if from
    @socket.connect(address)
    @tls = address.encrypt(@socket, Deadline.in(Deadline::PATIENCE)) if address.is_a?(TlsAddress)
    @buffer = String.new(encoding: Encoding::BINARY)
    @ending = nil
  end

  # Sends all bytes, waiting for the peer to take them.
  def write(bytes, seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    rest = bytes.b
    until rest.empty?
      sent = stream.write_nonblock(rest, exception: false)
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
    sent = stream.write_nonblock(bytes, exception: false)
    sent == :wait_writable ? 0 : sent
  end

  # Whether the kernel takes something within so many seconds.
  def takes_more?(seconds) = !@socket.wait_writable(seconds).nil?

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

  # How the peer ended the stream: :fin or :reset; with TLS, :truncated if it has sent no close_notify. Bytes that come before the
  # end are kept for the read methods.
  def ending(seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    receive(deadline, "the end of the stream") until @ending
    @ending
  end

  # How many segments with data have come by TCP (tcp_info.tcpi_data_segs_in); nil if that is not known.
  def segments
    return if @tls || @socket.is_a?(UNIXSocket) || !Socket.const_defined?(:TCP_INFO)

    @socket.getsockopt(Socket::IPPROTO_TCP, Socket::TCP_INFO).data.unpack1("@152L")
  end

  # Takes at most so many bytes from the kernel and keeps them for the read methods. Does not wait. Returns how many they
  # were, or :ended.
  def take_from_kernel(count)
    return :ended if @ending

    case (bytes = stream.read_nonblock(count, exception: false))
    when :wait_readable then 0
    when nil then @ending = :fin and :ended
    else
      @buffer << bytes
      bytes.bytesize
    end
  rescue Errno::ECONNRESET
    @ending = :reset
    :ended
  rescue OpenSSL::SSL::SSLError => e
    @ending = ending_of(e)
    :ended
  end

  # True when the peer has sent something, or ended the stream, that was not read yet. Does not wait.
  def anything?
    return true unless @buffer.empty? && @ending.nil?

    # What comes by TLS may be for TLS only: a ticket, for example.
    @tls ? take_from_kernel(READ_SIZE) != 0 : !@socket.wait_readable(0).nil?
  end

  # Without TLS this does nothing. The socket stays open.
  def send_close_notify = @tls&.__send__(:stop)

  # FIN in our direction only: the peer may still write.
  def finish_writing
    send_close_notify
    @socket.close_write
  end

  # Ends the connection with a FIN (if nothing unread is left in the kernel's buffer).
  def close
    @tls&.close unless @socket.closed?
    @socket.close
  end

  # Ends the connection with a RST, as a peer does that has crashed. A Unix socket knows no RST and is just closed.
  def reset
    @socket.setsockopt(Socket::Option.linger(true, 0)) if @tcp
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

    case (bytes = stream.read_nonblock(READ_SIZE, exception: false))
    when :wait_readable
      @socket.wait_readable(deadline.remaining) or
        raise Deadline::Missed, "gave up waiting for #{awaited}; unread: #{@buffer.byteslice(0, 500).inspect}"
    when nil then @ending = :fin
    else @buffer << bytes
    end
  rescue Errno::ECONNRESET
    @ending = :reset
  rescue OpenSSL::SSL::SSLError => e
    @ending = ending_of(e)
  end

  # What is read and written.
  def stream = @tls || @socket

  def ending_of(error)
    error.message.match?(/unexpected eof/) ? :truncated : raise(error)
  end
end
