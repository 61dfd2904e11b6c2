# frozen_string_literal: true

require "socket"
require_relative "deadline"

# Stands for systemd: has a notify socket.
class ServiceManager
  # All messages so far, each an Array of lines, and the pids of their senders.
  attr_reader :heard, :pids

  # path: of the notify socket.
  def initialize(path)
    @path = path
    @socket = Socket.new(:UNIX, :DGRAM)
    @socket.setsockopt(:SOCKET, :PASSCRED, true) if Socket.const_defined?(:SO_PASSCRED)
    @socket.bind(Addrinfo.unix(path))
    @heard = []
    @pids = []
  end

  def environment = { "NOTIFY_SOCKET" => @path }

  # Waits for a message with this line. Messages before it are forgotten.
  # Returns its lines.
  def await(line, seconds: Deadline::PATIENCE)
    deadline = Deadline.in(seconds)
    loop do
      unless @socket.wait_readable(deadline.remaining)
        raise Deadline::Missed, "gave up waiting for #{line}; heard #{@heard.inspect}"
      end

      message = receive
      return message if message.include?(line)
    end
  end

  def close = @socket.close

  private

  def receive
    text, _, _, *controls = @socket.recvmsg(65_536)
    controls.each { |control| @pids << control.data.unpack1("l") if control.cmsg_is?(:SOCKET, :CREDENTIALS) }
    text.split("\n").tap { |lines| @heard << lines }
  end
end
