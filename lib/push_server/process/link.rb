# frozen_string_literal: true

require "io/wait"
require "json"
require "socket"

module PushServer
  # One end of the connection between the supervisor and a child. A message is a line of JSON with a kind and fields, and may
  # carry descriptors. It travels over a Unix stream socket: the descriptors ride with the line's first byte, and the field
  # `fds` says how many there are.
  #
  # The supervisor's end never waits: what the socket does not take is kept, up to {MAX_UNSENT} bytes, until {#flush}. A
  # child's end waits. Any thread may send; one thread at a time may receive.
  class Link
    # Bytes that a peer may leave unread beside what its socket holds.
    MAX_UNSENT = 1 << 20
    # Bytes of the longest line.
    MAX_LINE = 1 << 20
    CHUNK = 65_536
    private_constant :CHUNK

    # A message that was received: its kind, its other fields by name, and the descriptors that came with it, as IOs. Who
    # receives a message owns them.
    Message = Struct.new(:kind, :fields, :ios) do
      # @return [Object, nil] the value of a field
      def [](name) = fields[name]

      # Closes the descriptors.
      def close = ios.each(&:close)
    end

    # The peer does not read: more than {MAX_UNSENT} bytes wait for it.
    class Overflow < IOError; end

    # The peer has sent what is no message.
    class Broken < IOError; end

    # @return [Array(Link, Link)] the supervisor's end and the child's
    def self.pair
      UNIXSocket.pair.then { |parent, child| [new(parent, waits: false), new(child, waits: true)] }
    end

    # The child's end, by its descriptor. A process that the child starts does not inherit it.
    # @param number [Integer]
    # @raise [SystemCallError, ArgumentError] if there is no such socket
    def self.for_fd(number, waits: true)
      socket = UNIXSocket.for_fd(number)
      socket.close_on_exec = true
      new(socket, waits: waits)
    end

    # @param socket [UNIXSocket]
    # @param waits [Boolean] whether {#send} waits until the socket has taken the message
    def initialize(socket, waits:)
      @socket = socket
      @waits = waits
      @sending = Mutex.new
      # What the socket has not taken: the rest of each line, with the descriptors that have not been sent.
      @unsent = []
      @received = String.new(encoding: Encoding::BINARY)
      @ios = []
    end

    # @return [UNIXSocket] to wait for messages with IO.select
    def to_io = @socket

    # Sends a message. The caller keeps its descriptors and may close them at once.
    # @param kind [Symbol, String]
    # @param fds [Array<IO>]
    # @param fields [Hash] what JSON can represent
    # @return [Boolean] false if the peer is gone
    # @raise [Overflow]
    def send(kind, fds: [], **fields)
      fields[:fds] = fds.size unless fds.empty?
      line = "#{JSON.generate({ kind: kind, **fields })}\n".b
      @sending.synchronize do
        @unsent << Unsent.new(line, fds, false)
        write
        @unsent.last&.keep
        raise Overflow, "the peer does not read" if @unsent.sum { |unsent| unsent.bytes.bytesize } > MAX_UNSENT
      end
      true
    rescue Overflow
      raise
    rescue SystemCallError, IOError
      false
    end

    # Whether something waits until the socket takes it.
    def unsent? = @unsent.any?

    # Sends what waits, as far as the socket takes it now.
    # @return [Boolean] false if the peer is gone
    def flush
      @sending.synchronize { write }
      true
    rescue SystemCallError, IOError
      false
    end

    # @param timeout [Numeric, nil] seconds to wait for a message; nil waits for ever
    # @return [Message, nil, :eof] nil if none has come in time, :eof if the peer is gone
    # @raise [Broken]
    def receive(timeout = nil)
      deadline = timeout && (now + timeout)
      loop do
        line = @received.slice!(/\A[^\n]*\n/n)
        return parse(line) if line
        raise Broken, "a message has no end" if @received.bytesize > MAX_LINE

        case read
        when nil then return :eof
        when :nothing then return nil unless @socket.wait_readable(deadline && [deadline - now, 0].max)
        end
      end
    end

    # Closes this end, and the descriptors that were neither sent nor taken. Idempotent.
    def close
      @socket.close
      @sending.synchronize { @unsent.shift.release until @unsent.empty? }
      @ios.shift.close until @ios.empty?
      nil
    end

    # @return [Boolean] whether {#close} was called
    def closed? = @socket.closed?

    private

    # A line, or the rest of it, with its descriptors. They go with the first byte.
    Unsent = Struct.new(:bytes, :ios, :own) do
      # The control messages of sendmsg.
      def rights = ios.empty? ? [] : [Socket::AncillaryData.unix_rights(*ios)]

      # The sender may close its descriptors, so a line that must wait has duplicates.
      def keep
        return if own || ios.empty?

        self.ios = ios.map(&:dup)
        self.own = true
      end

      # @return [Boolean] whether the whole line was sent
      def sent(count)
        release
        self.bytes = bytes.byteslice(count..)
        bytes.empty?
      end

      # Forgets the descriptors.
      def release
        ios.each(&:close) if own
        self.ios = []
      end
    end
    private_constant :Unsent

    # Writes until the socket takes no more.
    def write
      until @unsent.empty?
        count = @socket.sendmsg_nonblock(@unsent.first.bytes, 0, nil, *@unsent.first.rights, exception: false)
        if count != :wait_writable
          @unsent.shift if @unsent.first.sent(count)
        elsif @waits
          @socket.wait_writable
        else
          return
        end
      end
    end

    # @return [Object, nil] :nothing if there is nothing to read now; nil at the end
    def read
      data, _, _, *controls = @socket.recvmsg_nonblock(CHUNK, 0, nil, scm_rights: true, exception: false)
      return :nothing if data == :wait_readable

      controls.each { |control| @ios.concat(control.unix_rights) if control.cmsg_is?(:SOCKET, :RIGHTS) }
      @received << data unless data.nil? || data.empty?
    rescue SystemCallError, IOError
      nil
    end

    def parse(line)
      fields = JSON.parse(line, symbolize_names: true)
      kind, count = fields.delete(:kind), fields.delete(:fds) || 0
      raise Broken, "a message has no kind" unless kind.is_a?(String)
      raise Broken, "descriptors of a message are missing" if count > @ios.size

      Message.new(kind, fields, @ios.shift(count))
    rescue JSON::ParserError, NoMethodError, TypeError
      raise Broken, "a message is not valid"
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
