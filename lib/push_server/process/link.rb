# frozen_string_literal: true

require "json"
require_relative "lines"

module PushServer
  # One end of the connection between the supervisor and a child. A message is a line of JSON with a kind and fields, and may
  # carry descriptors: the field `fds` says how many.
  #
  # The supervisor's end never waits; see {Lines}. A child's end waits. Any thread may send; one thread at a time may receive.
  class Link
    # The peer does not read: {#send} raises it.
    Overflow = Lines::Overflow
    # The peer has sent what is no message: {#receive} raises it.
    Broken = Lines::Broken

    # A message that was received: its kind, its other fields by name, and the descriptors that came with it, as IOs. They
    # belong to the receiver.
    Message = Struct.new(:kind, :fields, :ios) do
      # @return [Object, nil] the value of a field
      def [](name) = fields[name]

      # Closes the descriptors.
      def close = ios.each(&:close)
    end

    # @return [Array(Link, Link)] the supervisor's end and the child's
    def self.pair
      parent, child = Lines.sockets
      [new(parent, waits: false), new(child, waits: true)]
    end

    # One end, by its descriptor. A program that this process starts does not inherit it.
    # @param number [Integer]
    # @param waits [Boolean] as for {#initialize}
    # @raise [SystemCallError, ArgumentError] if there is no such socket
    def self.for_fd(number, waits: true)
      socket = UNIXSocket.for_fd(number)
      socket.close_on_exec = true
      new(socket, waits: waits)
    end

    # An end that was handed over: see {#handover}.
    # @param fields [Hash{Symbol => Object}] with the numbers of descriptors in place of IOs
    # @param waits [Boolean] as for {#initialize}
    def self.restore(fields, waits: false) = new(nil, waits: waits, lines: Lines.restore(fields, waits: waits))

    # @param socket [UNIXSocket]
    # @param waits [Boolean] whether {#send} waits until the socket has taken the message
    def initialize(socket, waits:, lines: Lines.new(socket, waits: waits))
      @lines = lines
    end

    # What {.restore} needs to go on with this end after an exec. See {Lines#handover}.
    # @return [Hash{Symbol => Object}]
    def handover = @lines.handover

    # @return [UNIXSocket] to wait for messages with IO.select
    def to_io = @lines.to_io

    # Sends a message. The caller keeps its descriptors and may close them at once.
    # @param kind [Symbol, String]
    # @param fds [Array<IO>]
    # @param fields [Hash] what JSON can represent
    # @return [Boolean] false if the peer is gone
    # @raise [Overflow]
    # @raise [SystemCallError] if too many files are open for the descriptors: see {Lines#write}
    def send(kind, fds: [], **fields)
      fields[:fds] = fds.size unless fds.empty?
      @lines.write(JSON.generate({ kind: kind, **fields }), fds)
    end

    # Whether something waits until the socket takes it.
    def unsent? = @lines.unsent?

    # Sends what waits, as far as the socket takes it now.
    # @return [Boolean] false if the peer is gone
    def flush = @lines.flush

    # @param timeout [Numeric, nil] seconds to wait for a message; nil waits for ever
    # @return [Message, nil, :eof] nil if none has come in time, :eof if the peer is gone
    # @raise [Broken]
    def receive(timeout = nil)
      line = @lines.read(timeout)
      line.is_a?(String) ? parse(line) : line
    end

    # Closes this end, and the descriptors that were neither sent nor taken. Idempotent.
    def close = @lines.close

    # @return [Boolean] whether {#close} was called
    def closed? = @lines.closed?

    private

    def parse(line)
      fields = JSON.parse(line, symbolize_names: true)
      kind, count = fields.delete(:kind), fields.delete(:fds) || 0
      raise Broken, "a message has no kind" unless kind.is_a?(String)

      Message.new(kind, fields, @lines.take(count))
    rescue JSON::ParserError, NoMethodError, TypeError
      raise Broken, "a message is not valid"
    end
  end
end
