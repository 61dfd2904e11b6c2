# frozen_string_literal: true

require_relative "http_client"
require_relative "http2_stream"
require_relative "transport"

# A client of Server-Sent Events. It parses them as the HTML standard says, and also returns the lines as they came. It does not
# reconnect. The request can have any method, and a body.
class SseClient
  # A block of lines up to an empty one. data: nil for a block without data lines, for which a browser dispatches no event. comments:
  # the texts after leading colons. lines: the block as it was sent.
  Block = Struct.new(:event, :data, :id, :retry, :comments, :lines, keyword_init: true)

  # Parses a block of lines as the HTML standard says.
  def self.parse(lines)
    block = Block.new(comments: [], lines: lines)
    lines.each do |line|
      field, value = line.split(":", 2)
      value = value.to_s.delete_prefix(" ")
      case field
      when "" then block.comments << value
      when "event" then block.event = value
      when "data" then block.data = block.data ? "#{block.data}\n#{value}" : value
      when "id" then block.id = value
      when "retry" then block.retry = Integer(value, 10)
      end
    end
    block
  end

  # connection: that of HTTP/1, or a stream of HTTP/2.
  attr_reader :response, :id, :connection

  # protocol: :h1 or :h2. version: of HTTP/1.
  def initialize(address, target = "/", id: nil, headers: {}, version: "1.1", method: "GET", body: nil,
                 protocol: Transport.protocol, **options)
    @id = id
    headers = { "accept" => "text/event-stream" }.merge(headers)
    if protocol == :h2 && version == "1.1"
      @response, @connection = Http2Stream.open(address, method, target, headers, body: body, **options)
    else
      http = HttpClient.new(address, **options)
      @connection = http.connection
      http.send_request(method, target, headers, version: version, body: body)
      @response = http.read_head
    end
  end

  # Whether the response is an event stream.
  def accepted? = response.status == 200 && response["content-type"].to_s.start_with?("text/event-stream")

  # The body of a response that is not an event stream.
  def ordinary_body = connection.read_to_end

  # The next line, without its end.
  def read_line(**deadline) = connection.read_until("\n", **deadline).chomp.force_encoding(Encoding::UTF_8)

  # The next block. `retry:` and comments that come before an event belong to its block.
  def read_block(**deadline)
    lines = []
    loop do
      line = read_line(**deadline)
      return SseClient.parse(lines) if line.empty?

      lines << line
    end
  end

  # The next block with data. Skips others.
  def read_event(seconds: Deadline::PATIENCE)
    skip_to(seconds, ->(left) { read_block(seconds: left) }) { |block| !block.data.nil? }
  end

  # The text of the next comment, and the milliseconds of the next `retry:`. Skips lines before it. The event that follows can still be
  # read.
  def read_comment(**deadline) = read_field("", **deadline)
  def read_retry(**deadline) = Integer(read_field("retry", **deadline), 10)

  def read_to_end(**deadline) = connection.read_to_end(**deadline)
  def ending(**deadline) = connection.ending(**deadline)
  def close = connection.close
  def closed? = connection.closed?
  def reset = connection.reset

  private

  def read_field(name, seconds: Deadline::PATIENCE)
    line = skip_to(seconds, ->(left) { read_line(seconds: left) }) { |it| it.start_with?("#{name}:") }
    line.split(":", 2).last.delete_prefix(" ")
  end

  # The first block or line for which the block is true. There is one deadline for all, or heartbeats would extend it for ever.
  def skip_to(seconds, read)
    deadline = Deadline.in(seconds)
    loop do
      found = read.call(deadline.remaining)
      return found if yield(found)
    end
  end
end
