# frozen_string_literal: true

require_relative "http2_requests"
require_relative "sse_client"

# A client of long polls, like a page. Each poll has the last ID that the client got. It polls only when the spec says so.
class PollClient
  # The answer to a poll: its response and its blocks (see SseClient::Block).
  Answer = Struct.new(:response, :blocks) do
    def status = response.status
    # Blocks with data, which a page sees as events.
    def events = blocks.reject { |block| block.data.nil? }
    def data = events.map(&:data)
    def ids = blocks.map(&:id).compact
    def comments = blocks.flat_map(&:comments)
  end

  # id: the name of the client in the app's events, which is its first query. cursor: the last ID that it got.
  attr_reader :id, :cursor
  # The connection of the next poll, unless it is closed.
  attr_accessor :http

  def initialize(address, target = "/", id:, cursor: nil, headers: {})
    @address, @target, @id, @cursor = address, target, id, cursor
    @headers = { "accept" => "text/event-stream" }.merge(headers)
    @http = connect
  end

  # Sends a poll and does not wait for the answer. wait: replaces push_wait in the target.
  def ask(wait: nil, target: @target, headers: {})
    @http = connect if @http.closed?
    target = target.sub(/push_wait=[^&]*/, "push_wait=#{wait}") if wait
    resume = { "last-event-id" => @cursor }.compact
    @http.send_request("GET", target, @headers.merge(resume, headers))
    self
  end

  # Reads the answer to the poll that was sent.
  def answer
    response = @http.read_response
    streams = response["content-type"].to_s.start_with?("text/event-stream")
    answer = Answer.new(response, streams ? blocks_of(response.body) : [])
    @cursor = answer.ids.last || @cursor
    answer
  end

  def poll(**how) = ask(**how).answer

  # Polls until there are at least that many events.
  def events(count)
    all = []
    all.concat(poll.events) while all.size < count
    all
  end

  # Loses the connection.
  def lose = @http.connection.reset

  def connection = @http.connection
  def close = @http.close
  def closed? = @http.closed?

  private

  def connect = Transport.requests.new(@address)

  def blocks_of(body)
    body = body.dup.force_encoding(Encoding::UTF_8)
    raise "not whole lines: #{body.inspect}" unless body.end_with?("\n")

    body.split("\n\n").map { |block| SseClient.parse(block.chomp.split("\n", -1)) }
  end
end
