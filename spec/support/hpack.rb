# frozen_string_literal: true

# Header blocks of HTTP/2 (RFC 7541), as the specs need them: fields are sent as literals, and read without a dynamic table,
# which the client of the specs does not allow the server.
module Hpack
  # Names and values, from index 1 on: RFC 7541 appendix A.
  STATIC = [
    [":authority", ""], [":method", "GET"], [":method", "POST"], [":path", "/"], [":path", "/index.html"], [":scheme", "http"],
    [":scheme", "https"], *%w[200 204 206 304 400 404 500].map { |status| [":status", status] }, ["accept-charset", ""],
    ["accept-encoding", "gzip, deflate"],
    *%w[accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control
        content-disposition content-encoding content-language content-length content-location content-range content-type cookie
        date etag expect expires from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified
        link location max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie
        strict-transport-security transfer-encoding user-agent vary via www-authenticate].map { |name| [name, ""] }
  ].freeze

  # The lengths of the codes of the 256 bytes and of the end: "a" is 5 bits, "z" is 30. RFC 7541 appendix B; the codes count
  # up, first by length.
  LENGTHS = "isxxxxxxxtzxxzxxxxxxxxzxxxxxxxxxbffhibdgffdgdbbbaaabbbbbbbcdkbhfibccccccccccccccccccccccdcdioijbkaba" \
            "babbbaccbbbabcbaabccccckgjixprpprrrsrssssststtrstssssqrsrsstrqprrssqsrrtqrssqqrqsrssprrrsrrsvvporsru" \
            "vvvwwvtuoqvwwvwtqqvvxwwwptpqrqqsrruuttvsvwvvwwwwwxwwwwwvz"

  # The code as a String of 0 and 1 => the byte.
  CODES = LENGTHS.each_char.with_index.sort_by { |letter, byte| [letter, byte] }.each_with_object({}) do |(letter, byte), codes|
    length = letter.ord - "a".ord + 5
    last = codes.keys.last
    number = last ? (last.to_i(2) + 1) << (length - last.size) : 0
    codes[number.to_s(2).rjust(length, "0")] = byte
  end.freeze

  module_function

  # A block of literal fields that no table keeps. fields: pairs, or a Hash.
  def encode(fields)
    fields.flat_map { |name, values| Array(values).map { |value| [name, value] } }
          .map { |name, value| "\0".b + string(name.to_s) + string(value.to_s) }.join
  end

  def string(text) = integer(text.bytesize, 7) + text.b

  # An integer with a prefix of so many bits, whose other bits are `high`.
  def integer(number, bits, high = 0)
    most = (1 << bits) - 1
    return [high | number].pack("C") if number < most

    rest = number - most
    bytes = [high | most]
    while rest >= 128
      bytes << ((rest & 127) | 128)
      rest >>= 7
    end
    (bytes << rest).pack("C*")
  end

  # The fields of a block: pairs.
  def decode(block)
    input = block.bytes
    fields = []
    until input.empty?
      first = input.first
      if first.anybits?(0x80)
        fields << STATIC.fetch(read_integer(input, 7) - 1)
      elsif first & 0xe0 == 0x20
        read_integer(input, 5) # The size of the dynamic table.
      else
        index = read_integer(input, first.anybits?(0x40) ? 6 : 4)
        name = index.zero? ? read_string(input) : STATIC.fetch(index - 1).first
        fields << [name, read_string(input)]
      end
    end
    fields
  end

  def read_integer(input, bits)
    most = (1 << bits) - 1
    number = input.shift & most
    return number if number < most

    shift = 0
    loop do
      byte = input.shift
      number += (byte & 127) << shift
      shift += 7
      return number if byte < 128
    end
  end

  def read_string(input)
    coded = input.first.anybits?(0x80)
    bytes = input.shift(read_integer(input, 7)).pack("C*")
    coded ? expand(bytes) : bytes
  end

  def expand(bytes)
    code = +""
    bytes.unpack1("B*").each_char.with_object("".b) do |bit, text|
      code << bit
      next unless (byte = CODES[code])

      text << byte
      code.clear
    end
  end
end
