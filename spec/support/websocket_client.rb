# frozen_string_literal: true

require "digest"
require_relative "http_client"
require_relative "websocket_frame"

# A WebSocket client that does nothing by itself: it answers no ping and echoes no close, unless the spec says so.
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

  # The response that accepted the connection.
  attr_reader :response
  # How the specs name this client in the events of the app; see SpecApp.
  attr_reader :id

  def initialize(address, target = "/", id: nil, headers: {}, **options)
    @id = id
    @http = HttpClient.new(address, **options)
    key = SecureRandom.base64(16)
    @http.send_request("GET", target, self.class.handshake(key).merge(headers))
    # An upgrade has no body: whatever follows the head of a 101 is the first frame.
    @response = @http.read_response
    raise Refused, @response unless @response.status == 101

    accept = Digest::SHA1.base64digest(key + GUID)
    raise "wrong Sec-WebSocket-Accept" unless @response["sec-websocket-accept"] == accept
  end

  def connection = @http.connection

  def text(string) = send_frame(:text, string)

  # Several messages in one write, so that the server has them all at once.
  def texts(*strings) = write(strings.map { |string| WebSocketFrame.encode(:text, string) }.join)

  def binary(string) = send_frame(:binary, string)
  def ping(payload = "") = send_frame(:ping, payload)
  def pong(payload = "") = send_frame(:pong, payload)

  # Sends the Close frame; the connection stays as it is. Without a code the frame is empty.
  def send_close(code = nil, reason = "") = send_frame(:close, code ? WebSocketFrame.close_payload(code, reason) : "")

  def send_frame(opcode, payload = "", **options) = write(WebSocketFrame.encode(opcode, payload, **options))

  # Sends raw bytes: anything a broken or hostile client could send.
  def write(bytes)
    connection.write(bytes)
    self
  end

  def read_frame(**deadline) = WebSocketFrame.read(connection, **deadline)

  # The next whole message, as a String in UTF-8 (text) or ASCII-8BIT (binary). Pings are answered on the way, pongs
  # skipped. A Close frame is an error here.
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

  # The next frame of that kind; others before it are dropped.
  def read_until_frame(opcode, **deadline)
    loop do
      frame = read_frame(**deadline)
      return frame if frame.opcode == opcode
    end
  end

  # Code and reason of the next Close frame; the code is nil when the frame is empty.
  def read_close(**deadline)
    frame = read_until_frame(:close, **deadline)
    [frame.close_code, frame.close_reason]
  end

  # The whole closing handshake as its initiator, up to the server's FIN. Returns what the server's Close frame said.
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
end
