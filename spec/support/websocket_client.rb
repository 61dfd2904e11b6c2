# frozen_string_literal: true

require "digest"
require_relative "http_client"
require_relative "http2_stream"
require_relative "transport"
require_relative "websocket_frame"

# A WebSocket client that does nothing by itself. It answers no ping and no Close frame.
class WebSocketClient
  GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

  # The server answered the handshake with something other than 101.
  class Refused < StandardError
    attr_reader :response

    def initialize(response)
      @response = response
      super("#{response.status}: #{response.body}")
    end
  end

  def self.handshake(key = SecureRandom.base64(16))
    { "connection" => "Upgrade", "upgrade" => "websocket", "sec-websocket-version" => "13", "sec-websocket-key" => key }
  end

  # The response that accepted the connection, and the connection: that of HTTP/1, or a stream of HTTP/2.
  attr_reader :response, :connection
  # The name of this client in the app's events. See SpecApp.
  attr_reader :id

  # protocol: :h1, or :h2 for RFC 8441.
  def initialize(address, target = "/", id: nil, headers: {}, protocol: Transport.protocol, **options)
    @id = id
    protocol == :h2 ? connect(address, target, headers, **options) : upgrade(address, target, headers, **options)
  end

  def text(string) = send_frame(:text, string)

  # Sends several messages in one write, so that the server gets them all at once.
  def texts(*strings) = write(strings.map { |string| WebSocketFrame.encode(:text, string) }.join)

  def binary(string) = send_frame(:binary, string)
  def ping(payload = "") = send_frame(:ping, payload)
  def pong(payload = "") = send_frame(:pong, payload)

  # Sends a Close frame, which is empty without a code, and does nothing else.
  def send_close(code = nil, reason = "") = send_frame(:close, code ? WebSocketFrame.close_payload(code, reason) : "")

  def send_frame(opcode, payload = "", **options) = write(WebSocketFrame.encode(opcode, payload, **options))

  # Sends raw bytes, as a broken or hostile client could.
  def write(bytes)
    connection.write(bytes)
    self
  end

  def read_frame(**deadline) = WebSocketFrame.read(connection, **deadline)

  # The next message, as a String in UTF-8 (text) or ASCII-8BIT (binary). Answers pings and skips pongs. Raises for a Close frame.
  def read_message(**deadline)
    parts = nil
    loop do
      frame = read_frame(**deadline)
      case frame.opcode
      when :ping then pong(frame.payload)
      when :pong then next
      when :close then raise "closed instead of a message: #{frame.close_code} #{frame.close_reason}"
      else
        parts ||= "".dup.force_encoding(frame.opcode == :text ? Encoding::UTF_8 : Encoding::BINARY)
        parts << frame.payload.force_encoding(parts.encoding)
        return parts if frame.fin
      end
    end
  end

  # The next frame of this kind. Drops others before it.
  def read_until_frame(opcode, **deadline)
    loop do
      frame = read_frame(**deadline)
      return frame if frame.opcode == opcode
    end
  end

  # The code and reason of the next Close frame. The code is nil if the frame is empty.
  def read_close(**deadline)
    frame = read_until_frame(:close, **deadline)
    [frame.close_code, frame.close_reason]
  end

  # Starts the closing handshake, and waits for the server's Close frame and FIN. Returns code and reason of the Close frame.
  def finish(code = 1000, reason = "")
    send_close(code, reason)
    answer = read_close
    connection.ending
    answer
  end

  # See RawConnection: a FIN or RST without a closing handshake, and how the server ended the stream.
  def close = connection.close
  def closed? = connection.closed?
  def reset = connection.reset
  def ending(**deadline) = connection.ending(**deadline)

  private

  def upgrade(address, target, headers, **options)
    http = HttpClient.new(address, **options)
    @connection = http.connection
    key = SecureRandom.base64(16)
    http.send_request("GET", target, self.class.handshake(key).merge(headers))
    # A 101 has no body. The first frame follows its head.
    @response = http.read_response
    raise Refused, @response unless @response.status == 101

    accept = Digest::SHA1.base64digest(key + GUID)
    raise "wrong Sec-WebSocket-Accept" unless @response["sec-websocket-accept"] == accept
  end

  def connect(address, target, headers, **options)
    fields = { "sec-websocket-version" => "13" }.merge(headers.transform_keys(&:downcase)).except("host")
    pseudo = { protocol: "websocket", authority: headers["host"] }.compact
    @response, @connection = Http2Stream.open(address, "CONNECT", target, fields, ends: false, pseudo: pseudo, **options)
    return if @response.status == 200

    @response.body = @connection.read_to_end
    raise Refused, @response
  end
end
