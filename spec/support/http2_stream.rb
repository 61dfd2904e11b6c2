# frozen_string_literal: true

require_relative "http2_client"

# A stream of HTTP/2 as a connection, with the methods of RawConnection: so clients of WebSockets and event streams can use one
# in place of a connection. It has a connection of its own.
class Http2Stream < RawConnection
  # The windows are given back when so many bytes were taken, as other clients do it.
  REFILL = Http2Client::WINDOW / 2

  attr_reader :client, :number

  # The response's head, and the stream.
  def self.open(address, method, target, headers, body: nil, ends: true, pseudo: {}, **options)
    client = Http2Client.new(address, refills: false, **options)
    number = client.send_request(method, target, headers, body: body, ends: ends, **pseudo)
    head = client.read_head(number)
    head = client.read_head(number) while head.status < 200
    [head, new(client, number, ended: head.framing == :none)]
  end

  # Superclass: the connection is made already.
  def initialize(client, number, ended: false) # rubocop:disable Lint/MissingSuper
    @client = client
    @number = number
    @buffer = String.new(encoding: Encoding::BINARY)
    @ending = ended ? :fin : nil
    @taken = 0
  end

  def socket = client.connection.socket

  def write(bytes, **)
    client.send_data(number, bytes)
    self
  end

  # As much as the window has room for.
  def write_some(bytes)
    part = bytes.byteslice(0, client.window(number))
    client.send_data(number, part) unless part.empty?
    part.bytesize
  end

  # Whether the window has room within so many seconds.
  def takes_more?(seconds)
    deadline = Deadline.in(seconds)
    until client.window(number).positive?
      return false if deadline.passed?

      socket.wait_readable(deadline.remaining)
    end
    true
  end

  # Takes at most so many bytes. As RawConnection, but in whole frames.
  def take_from_kernel(_count)
    return :ended if @ending
    return 0 unless client.connection.anything?

    before = @buffer.bytesize
    receive(Deadline.in(Deadline::PATIENCE), "anything")
    @ending ? :ended : @buffer.bytesize - before
  end

  # Whether something of this stream has come.
  def anything?
    receive(Deadline.in(Deadline::PATIENCE), "anything") while @buffer.empty? && @ending.nil? && client.anything?
    !@buffer.empty? || !@ending.nil?
  end

  # END_STREAM, which is what a FIN is to a connection.
  def finish_writing = client.send_data(number, "", ends: true)

  def close = client.close
  def closed? = client.closed?

  # RST_STREAM, which is what a RST is to a connection. Then nothing is read any more.
  def reset
    client.reset(number)
    client.ping
    client.close
  end

  private

  def receive(deadline, awaited)
    return if @ending

    frame = client.wait_for(awaited, seconds: deadline.remaining) { true }
    return if frame.stream != number

    case frame.type
    when :rst_stream then @ending = :reset
    when :data then take(frame)
    end
  rescue RawConnection::Ended
    @ending = client.connection.ending
  end

  def take(frame)
    @buffer << frame.payload
    @ending = :fin if frame.end_stream?
    @taken += frame.payload.bytesize
    return if @taken < REFILL

    [0, number].each { |stream| client.add_window(@taken, stream: stream) }
    @taken = 0
  rescue Errno::EPIPE, Errno::ECONNRESET
    nil
  end
end
