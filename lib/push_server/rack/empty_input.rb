# frozen_string_literal: true

module PushServer
  # `rack.input` of a request without a body: it is at its end from the start. All requests share one, so it has no
  # state. It answers as a StringIO of "" does.
  class EmptyInput
    # The only instance.
    INSTANCE = new.freeze
    private_class_method :new

    # @param length [Integer, nil] bytes; nil is all
    # @param buffer [String, nil] emptied
    # @return [String, nil] "" for all, or for 0 bytes; else nil
    def read(length = nil, buffer = nil)
      raise ArgumentError, "negative length #{length} given" if length&.negative?

      buffer&.clear
      (buffer || +"".b) if length.nil? || length.zero?
    end

    # @return [nil] at the end
    def gets(*) = nil
    def getc = nil
    def getbyte = nil

    # Yields nothing.
    def each(*) = block_given? ? self : enum_for
    alias each_line each
    def each_byte = block_given? ? self : enum_for(:each_byte)

    # @raise [EOFError] unless no bytes are asked for
    def readpartial(length, buffer = nil)
      read(length, buffer) || raise(EOFError, "end of file reached")
    end
    alias sysread readpartial

    # @raise [EOFError] unless no bytes are asked for, or `exception: false`
    def read_nonblock(length, buffer = nil, exception: true)
      read(length, buffer) || (raise(EOFError, "end of file reached") if exception)
    end

    # As those of a StringIO of "".
    def rewind = 0
    def pos = 0
    alias tell pos
    def seek(*) = 0
    def size = 0
    alias length size
    def eof? = true
    alias eof eof?
    def close = nil
    def closed? = false
    def binmode = self
    def sync = true
    def external_encoding = Encoding::BINARY
    def set_encoding(*) = self
    def inspect = "#<PushServer::EmptyInput>"
  end
end
