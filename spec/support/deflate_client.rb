# frozen_string_literal: true

require "zlib"
require_relative "websocket_client"

# A WebSocket with permessage-deflate (RFC 7692): sends compressed messages, and inflates those of the server. It keeps its window
# from message to message if the server lets it.
class DeflateClient < WebSocketClient
  RSV1 = 4
  TAIL = "\x00\x00\xff\xff".b

  # How many frames of the server were compressed, the first frames of messages.
  attr_reader :compressed_messages

  def initialize(address, target = "/", offer: "permessage-deflate; client_max_window_bits", headers: {}, **options)
    super(address, target, headers: { "sec-websocket-extensions" => offer }.merge(headers), **options)
    @compressed_messages = 0
    # Each message of the server stands for itself, so that its window can be checked: the inflater has no other.
    @bits = parameters.fetch("server_max_window_bits", 15).to_i
    @deflate = deflater
  end

  # What the server has agreed to; nil if it has not.
  def extension = response["sec-websocket-extensions"]
  def keeps_window? = !parameters.key?("client_no_context_takeover")

  # The parameters of the server's answer.
  def parameters
    extension.to_s.split(";").drop(1).to_h { |parameter| parameter.strip.split("=", 2).values_at(0, 1) }
  end

  # Sends a compressed message, in so many fragments.
  def deflated(opcode, string, fragments: 1)
    bytes = compress(string)
    size = [(bytes.bytesize.to_f / fragments).ceil, 1].max
    parts = Array.new(fragments) { |index| bytes.byteslice(index * size, size) || "" }
    write(parts.each_with_index.map do |part, index|
      WebSocketFrame.encode(index.zero? ? opcode : :continuation, part, fin: index == fragments - 1,
                                                                       rsv: index.zero? ? RSV1 : 0)
    end.join)
  end

  # The payload of a compressed message.
  def compress(string)
    # Section 7.2.3.6.
    return "\0".b if string.empty?

    @deflate = deflater unless keeps_window?
    @deflate.deflate(string, Zlib::SYNC_FLUSH).delete_suffix(TAIL)
  end

  # As WebSocketClient#read_message. Raises if a message cannot be inflated with the window that was agreed on, by itself.
  def read_message(**deadline)
    first = frame = read_data_frame(**deadline)
    parts = +frame.payload
    parts << (frame = read_data_frame(**deadline)).payload until frame.fin
    if first.rsv.anybits?(RSV1)
      @compressed_messages += 1
      parts = inflate(parts)
    end
    parts.force_encoding(first.opcode == :text ? Encoding::UTF_8 : Encoding::BINARY)
  end

  private

  def deflater = Zlib::Deflate.new(Zlib::DEFAULT_COMPRESSION, -[parameters.fetch("client_max_window_bits", 15).to_i, 9].max)

  def inflate(bytes)
    inflater = Zlib::Inflate.new(-@bits)
    inflater.inflate(bytes + TAIL)
  ensure
    inflater&.close
  end

  def read_data_frame(**deadline)
    loop do
      frame = read_frame(**deadline)
      case frame.opcode
      when :ping then pong(frame.payload)
      when :pong then next
      when :close then raise "closed instead of a message: #{frame.close_code} #{frame.close_reason}"
      else return frame
      end
    end
  end
end
