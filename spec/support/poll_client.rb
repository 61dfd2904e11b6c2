# frozen_string_literal: true

require_relative "sse_client"

# A client of long polls, as a page is one: it asks with the id that it was told last. What it does not do by itself is
# to ask again.
class PollClient
  # One answer: its response, and its blocks (see SseClient::Block).
  Answer = Struct.new(:response, :blocks) do
    def status = response.status
    # What a page hears of: blocks with data.
    def events = blocks.reject { |block| block.data.nil? }
    def data = events.map(&:data)
    def ids = blocks.map(&:id).compact
    def comments = blocks.flat_map(&:comments)
  end

  # id: what the specs call the server's side (its first query). cursor: the last id it was told.
  attr_reader :id, :cursor, :http

  def initialize(address, target = "/", id:, cursor: nil, headers: {})
    @address, @target, @id, @cursor = address, target, id, cursor
    @headers = { "accept" => "text/event-stream" }.merge(headers)
    @http = HttpClient.new(address)
  end

  # Asks and does not wait for the answer. Without a wait in the target it may be asked for.
  def ask(wait: nil, target: @target, headers: {})
    @http = HttpClient.new(@address) if @http.closed?
    target = target.sub(/push_wait=[^&]*/, "push_wait=#{wait}") if wait
    resume = { "last-event-id" => @cursor }.compact
    @http.send_request("GET", target, @headers.merge(resume, headers))
    self
  end

  # The answer to what was asked.
  def answer
    response = @http.read_response
    streams = response["content-type"].to_s.start_with?("text/event-stream")
    answer = Answer.new(response, streams ? blocks_of(response.body) : [])
    @cursor = answer.ids.last || @cursor
    answer
  end

  def poll(**how) = ask(**how).answer

  # Polls until that many events have come.
  def events(count)
    all = []
    all.concat(poll.events) while all.size < count
    all
  end

  # The connection goes, as a phone's does in a tunnel: the server hears of it, or does not.
  def lose = @http.connection.reset

  def connection = @http.connection
  def close = @http.close
  def closed? = @http.closed?

  private

  def blocks_of(body)
    body = body.dup.force_encoding(Encoding::UTF_8)
    raise "not whole lines: #{body.inspect}" unless body.end_with?("\n")

    body.split("\n\n").map { |block| SseClient.parse(block.chomp.split("\n", -1)) }
  end
end
