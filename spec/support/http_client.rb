# frozen_string_literal: true

require_relative "raw_connection"

# HTTP/1.x over a RawConnection. The spec writes any request; the response is read strictly by RFC 9112 section 6.3, so wrong framing
# is an error.
class HttpClient
  # headers: lower-case name => all its values, in order of appearance. head: the bytes up to the empty line.
  Response = Struct.new(:version, :status, :headers, :body, :head, :framing, keyword_init: true) do
    # The only value of a header; nil when there is none.
    def [](name)
      values = headers.fetch(name, [])
      raise "#{values.size} values for #{name}: #{values}" if values.size > 1

      values.first
    end

    def all(name) = headers.fetch(name, [])
  end

  # The name and the value of each header. headers: as for send_request.
  def self.header_pairs(headers)
    return headers.map { |line| line.split(/:\s*/, 2) } if headers.is_a?(Array)

    headers.flat_map { |name, values| Array(values).map { |value| [name, value.to_s] } }
  end

  attr_reader :connection

  def initialize(address, **options)
    @connection = RawConnection.new(address, **options)
  end

  # Sends one request. headers: a Hash (a value may be an Array: one line each) or an Array of raw header lines.
  # `host` and, for a String body, `content-length` are added unless given.
  def send_request(method, target, headers = {}, body: nil, version: "1.1")
    lines = header_lines(headers)
    lines.unshift("host: localhost") unless lines.any? { |line| line.match?(/\Ahost:/i) }
    lines << "content-length: #{body.bytesize}" if body && lines.none? { |line| line.match?(/\A(content-length|transfer-encoding):/i) }
    connection.write("#{method} #{target} HTTP/#{version}\r\n#{lines.map { |line| "#{line}\r\n" }.join}\r\n#{body}")
    self
  end

  # Sends one request and reads its response.
  def request(method, target, headers = {}, **options)
    send_request(method, target, headers, **options)
    read_response(method)
  end

  def get(target, headers = {}, **options) = request("GET", target, headers, **options)

  # Reads a final response. Interim ones (100 Continue) are skipped, unless `interim` is true.
  def read_response(method = "GET", interim: false)
    response = read_head
    response = read_head until interim || response.status >= 200 || response.status == 101
    read_body(response, method)
  end

  # Reads only the head of a response.
  def read_head
    head = connection.read_until("\r\n\r\n")
    status_line, *lines = head.split("\r\n")
    _, version, status = status_line.match(%r{\AHTTP/(1\.[01]) (\d{3})(?: .*)?\z}).to_a
    raise "not a status line: #{status_line.inspect}" unless status

    headers = lines.each_with_object({}) do |line, all|
      name, value = line.split(":", 2)
      (all[name.downcase] ||= []) << value.strip
    end
    Response.new(version: version, status: Integer(status), headers: headers, head: head)
  end

  # Whether a response, or the end, has come. Does not wait.
  def answered? = connection.anything?

  def write(bytes) = connection.write(bytes)
  def close = connection.close
  def closed? = connection.closed?

  private

  def header_lines(headers)
    headers.is_a?(Array) ? headers.dup : HttpClient.header_pairs(headers).map { |pair| pair.join(": ") }
  end

  def read_body(response, method)
    response.framing, response.body = framed_body(response, method)
    response
  end

  def framed_body(response, method)
    return [:none, "".b] if method == "HEAD" || response.status < 200 || [204, 304].include?(response.status)
    return [:chunked, read_chunks] if response.all("transfer-encoding").any?
    return [:length, connection.read_exactly(Integer(response["content-length"], 10))] if response["content-length"]

    [:close, connection.read_to_end]
  end

  def read_chunks
    body = "".b
    loop do
      size = Integer(connection.read_until("\r\n").chomp("\r\n"), 16)
      body << connection.read_exactly(size)
      raise "a chunk that does not end in CRLF" unless connection.read_until("\r\n") == "\r\n"
      return body if size.zero?
    end
  end
end
