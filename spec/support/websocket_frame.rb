# frozen_string_literal: true

require "securerandom"

# A WebSocket frame (RFC 6455 section 5.2). A spec can also send frames that the RFC forbids.
WebSocketFrame = Struct.new(:opcode, :payload, :fin, :rsv, keyword_init: true) do
  self::OPCODES = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 }.freeze

  # opcode: a name or a number. rsv: the three reserved bits as a number. length: the length in the header, if it is not the
  # payload's. mask: false for an unmasked frame, which a client must not send.
  def self.encode(opcode, payload = "", fin: true, rsv: 0, mask: true, length: payload.bytesize)
    first = (fin ? 0x80 : 0) | (rsv << 4) | self::OPCODES.fetch(opcode, opcode)
    bit = mask ? 0x80 : 0
    head = if length < 126 then [first, bit | length].pack("CC")
           elsif length < 65_536 then [first, bit | 126, length].pack("CCn")
           else [first, bit | 127, length].pack("CCQ>")
           end
    return head + payload.b unless mask

    key = SecureRandom.bytes(4)
    head + key + masked(payload, key)
  end

  # The payload of a Close frame.
  def self.close_payload(code, reason = "") = [code].pack("n") + reason.b

  def self.masked(payload, key)
    word = key.unpack1("L")
    padded = payload.b + ("\0".b * (-payload.bytesize % 4))
    padded.unpack("L*").map! { |bits| bits ^ word }.pack("L*").byteslice(0, payload.bytesize)
  end

  def self.read(connection, **deadline)
    first, second = connection.read_exactly(2, **deadline).unpack("CC")
    raise "a server must not mask its frames" unless (second & 0x80).zero?

    length = case (short = second & 0x7f)
             when 126 then connection.read_exactly(2, **deadline).unpack1("n")
             when 127 then connection.read_exactly(8, **deadline).unpack1("Q>")
             else short
             end
    new(opcode: self::OPCODES.key(first & 0xf) || (first & 0xf), fin: first.anybits?(0x80), rsv: (first >> 4) & 7,
        payload: connection.read_exactly(length, **deadline))
  end

  def close_code = payload.unpack1("n")
  def close_reason = payload.byteslice(2..)&.force_encoding(Encoding::UTF_8)
end
