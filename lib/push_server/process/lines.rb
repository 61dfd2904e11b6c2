# frozen_string_literal: true

require "io/wait"
require "socket"

module PushServer
  # One end of a Unix stream socket that carries lines. A line may carry descriptors, which ride with its first byte.
  #
  # An end that does not wait keeps what the socket does not take, up to {MAX_UNSENT} bytes, until {#flush}. Any thread may
  # write; one thread at a time may read.
  class Lines
    # Bytes that a peer may leave unread beside what its socket holds.
    MAX_UNSENT = 1 << 20
    # Bytes of the longest line.
    MAX_LINE = 1 << 20
    CHUNK = 65_536
    # The errors of the system when it has no room for another descriptor. They are not the peer's fault.
    SHORTAGES = [Errno::EMFILE, Errno::ENFILE, Errno::ETOOMANYREFS].freeze
    private_constant :CHUNK, :SHORTAGES

    # The peer does not read: more than {MAX_UNSENT} bytes wait for it.
    class Overflow < IOError; end

    # The peer has sent what is not valid.
    class Broken < IOError; end

    # @return [Array(UNIXSocket, UNIXSocket)] connected; a program that is started inherits neither
    def self.sockets = UNIXSocket.pair

    # An end that was handed over: see {#handover}.
    # @param fields [Hash{Symbol => Object}] with the numbers of descriptors in place of IOs
    # @param waits [Boolean] as for {#initialize}
    def self.restore(fields, waits:) = allocate.tap { |lines| lines.__send__(:restore, fields, waits) }

    # @param socket [UNIXSocket]
    # @param waits [Boolean] whether {#write} waits until the socket has taken the line
    def initialize(socket, waits:)
      @socket = socket
      @waits = waits
      @writing = Mutex.new
      @unsent = []
      @received = String.new(encoding: Encoding::BINARY)
      @ios = []
    end

    # What {.restore} needs to go on with this end after an exec: the socket, and what was neither read nor sent. No other
    # thread may use it meanwhile.
    # @return [Hash{Symbol => Object}] IOs, and what JSON can represent
    def handover
      { socket: @socket, received: [@received].pack("m0"), ios: @ios,
        unsent: @unsent.map { |unsent| { bytes: [unsent.bytes].pack("m0"), ios: unsent.ios } } }
    end

    # @return [UNIXSocket] to wait for lines with IO.select
    def to_io = @socket

    # Writes a line. The caller keeps the descriptors and may close them at once.
    # @param text [String] without its end
    # @param ios [Array<IO>]
    # @return [Boolean] false if the peer is gone
    # @raise [Overflow]
    # @raise [Errno::EMFILE, Errno::ENFILE, Errno::ETOOMANYREFS] if too many files are open for the line's descriptors. Nothing of
    #   the line is sent
    def write(text, ios = [])
      @writing.synchronize do
        add(Unsent.new("#{text}\n".b, ios, false))
        raise Overflow, "the peer does not read" if @unsent.sum { |unsent| unsent.bytes.bytesize } > MAX_UNSENT
      end
      true
    rescue Overflow, *SHORTAGES
      raise
    rescue SystemCallError, IOError
      false
    end

    # Whether something waits until the socket takes it.
    def unsent? = @unsent.any?

    # Writes what waits, as far as the socket takes it now.
    # @return [Boolean] false if the peer is gone
    def flush
      @writing.synchronize { write_unsent }
      true
    rescue SystemCallError, IOError
      false
    end

    # @param timeout [Numeric, nil] seconds to wait for a line; nil waits for ever
    # @return [String, nil, :eof] a line without its end, binary; nil if none has come in time; :eof if the peer is gone
    # @raise [Broken] if a line is too long
    def read(timeout = nil)
      deadline = timeout && (now + timeout)
      loop do
        line = @received.slice!(/\A[^\n]*\n/n)
        return line.chomp! if line
        raise Broken, "a line has no end" if @received.bytesize > MAX_LINE

        case receive
        when nil then return :eof
        when :nothing then return nil unless @socket.wait_readable(deadline && [deadline - now, 0].max)
        end
      end
    end

    # Takes descriptors that have come with the lines that were read, in their order. The caller owns them.
    # @param count [Integer]
    # @return [Array<IO>]
    # @raise [Broken] if there are fewer
    def take(count)
      raise Broken, "descriptors are missing: perhaps too many files are open" if count > @ios.size

      @ios.shift(count)
    end

    # Takes all descriptors that have come.
    # @return [Array<IO>]
    def take_all = take(@ios.size)

    # Closes this end, and the descriptors that were neither sent nor taken. Idempotent.
    def close
      @socket.close
      @writing.synchronize { @unsent.shift.release until @unsent.empty? }
      @ios.shift.close until @ios.empty?
      nil
    end

    # @return [Boolean] whether {#close} was called
    def closed? = @socket.closed?

    private

    # A line, or the rest of it, with its descriptors.
    Unsent = Struct.new(:bytes, :ios, :own) do
      # The control messages of sendmsg.
      def rights = ios.empty? ? [] : [Socket::AncillaryData.unix_rights(*ios)]

      # The writer may close its descriptors, so a line that must wait has duplicates.
      def keep
        return if own || ios.empty?

        copies = []
        ios.each { |io| copies << io.dup }
        self.ios = copies
        self.own = true
      rescue SystemCallError
        copies.each(&:close)
        raise
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

    def restore(fields, waits)
      initialize(UNIXSocket.for_fd(fields.fetch(:socket)), waits: waits)
      @received << fields.fetch(:received).unpack1("m0")
      @ios = fields.fetch(:ios).map { |number| IO.for_fd(number) }
      @unsent = fields.fetch(:unsent).map do |unsent|
        Unsent.new(unsent.fetch(:bytes).unpack1("m0"), unsent.fetch(:ios).map { |number| IO.for_fd(number) }, true)
      end
    end

    # Writes a line, and those before it, as far as the socket takes them.
    def add(line)
      @unsent << line
      write_unsent
      @unsent.last&.keep
    rescue *SHORTAGES
      # Its descriptors would have ridden with its first byte.
      @unsent.pop if @unsent.last.equal?(line)
      raise
    end

    # Writes until the socket takes no more.
    def write_unsent
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
    def receive
      data, _, _, *controls = @socket.recvmsg_nonblock(CHUNK, 0, nil, scm_rights: true, exception: false)
      return :nothing if data == :wait_readable

      controls.each { |control| @ios.concat(control.unix_rights) if control.cmsg_is?(:SOCKET, :RIGHTS) }
      @received << data unless data.nil? || data.empty?
    rescue SystemCallError, IOError
      nil
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
