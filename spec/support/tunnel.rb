# frozen_string_literal: true

require "socket"

# A proxy that acts like a tunnel on the way of a phone. Inside of it, all connections are lost at both ends, and new ones wait
# until the phone leaves it.
class Tunnel
  attr_reader :port

  def initialize(to)
    @to = to
    @listener = TCPServer.new("127.0.0.1", 0)
    @port = @listener.addr[1]
    @mutex = Mutex.new
    @left = ConditionVariable.new
    @inside = false
    @sockets = []
    @threads = [Thread.new { accept }]
  end

  def url = "http://127.0.0.1:#{port}"

  def enter
    @mutex.synchronize do
      @inside = true
      @sockets.each { |socket| reset(socket) }
      @sockets.clear
    end
  end

  # New connections wait, those that exist stay.
  def hold = @mutex.synchronize { @inside = true }

  def leave
    @mutex.synchronize do
      @inside = false
      @left.broadcast
    end
  end

  def close
    enter
    @threads.each(&:kill).each(&:join)
    @listener.close
  end

  private

  def accept
    loop do
      near = @listener.accept
      @threads << Thread.new { connect(near) }
    end
  end

  def connect(near)
    far = @mutex.synchronize do
      @left.wait(@mutex) while @inside
      TCPSocket.new("127.0.0.1", @to).tap { |socket| @sockets.push(near, socket) }
    end
    @threads << Thread.new { carry(far, near) }
    carry(near, far)
  end

  # Copies one direction, with its end.
  def carry(from, to)
    begin
      loop { to.write(from.readpartial(16_384)) }
    rescue EOFError
      to.close_write
    end
  rescue IOError, SystemCallError
    nil # One side has disconnected, or the connection was lost.
  end

  def reset(socket)
    socket.setsockopt(Socket::Option.linger(true, 0)) unless socket.closed?
    socket.close
  rescue SystemCallError
    socket.close
  end
end
