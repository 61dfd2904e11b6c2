# frozen_string_literal: true

require_relative "http2_stream"
require_relative "http_client"

# Requests over HTTP/2, with the methods of HttpClient. The handshake of a WebSocket becomes an extended CONNECT (RFC 8441).
class Http2Requests
  HANDSHAKE = %w[connection upgrade sec-websocket-key].freeze

  def initialize(address, **options)
    @client = Http2Client.new(address, **options)
  end

  # headers: as for HttpClient.
  def send_request(method, target, headers = {}, body: nil)
    fields = HttpClient.header_pairs(headers).map { |name, value| [name.downcase, value] }
    host, fields = fields.partition { |name, _| name == "host" }
    pseudo = { authority: host.first&.last }.compact
    @connects = fields.any? { |name, value| name == "upgrade" && value.casecmp?("websocket") }
    if @connects
      method = "CONNECT"
      fields.reject! { |name, _| HANDSHAKE.include?(name) }
      pseudo[:protocol] = "websocket"
    end
    @stream = nil
    @number = @client.send_request(method, target, fields, body: body, ends: !@connects, **pseudo)
    self
  end

  # Sends one request and reads its response.
  def request(method, target, headers = {}, **options)
    send_request(method, target, headers, **options)
    read_response
  end

  def get(target, headers = {}, **options) = request("GET", target, headers, **options)

  # Reads a final response. That to a WebSocket which is accepted has no body.
  def read_response(*)
    return @client.read_response(@number) unless @connects

    head = read_head until head && head.status >= 200
    head.tap { |it| it.body = head.status < 300 ? "".b : connection.read_to_end }
  end

  # Reads only the head of a response. What follows can be read from `connection`.
  def read_head
    head = @client.read_head(@number)
    @stream = Http2Stream.new(@client, @number, ended: head.framing == :none) if head.status >= 200
    head
  end

  # Whether the response to the last request has begun. Does not wait.
  def answered? = @client.any_of?(@number)

  # The stream of the last request, if only the head of its response was read. Otherwise the connection.
  def connection = @stream || @client.connection

  def close = @client.close
  def closed? = @client.closed?
end
