# frozen_string_literal: true

require_relative "http2_client"

# Requests over HTTP/2, one after the other, with the methods of HttpClient.
class Http2Requests
  def initialize(address, **options)
    @client = Http2Client.new(address, **options)
  end

  def send_request(method, target, headers = {}, body: nil)
    @stream = @client.send_request(method, target, headers, body: body)
    self
  end

  def read_response = @client.read_response(@stream)
  def connection = @client.connection
  def close = @client.close
  def closed? = @client.closed?
end
