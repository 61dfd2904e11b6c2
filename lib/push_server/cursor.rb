# frozen_string_literal: true

require "json"

module PushServer
  # A place in the log of all channels: what {PushServer.publish} and {PushServer.cursor} return. It is a String wherever
  # Ruby converts implicitly, so it can be interpolated, concatenated and put into a URL or a page. It is frozen, and may be
  # used by any thread.
  #
  # A message may get its number later than {PushServer.publish} returns, if several processes share one log. Then the first
  # method that needs the text waits for the number, for at most `publish_timeout`, and raises {EngineUnavailable} if there is
  # none. It says why if the hub has refused the message.
  # In a server of one process nothing waits.
  class Cursor
    class << self
      undef_method :new
    end

    # The same as {#to_s}: Ruby uses a cursor as a String.
    # @return [String]
    def to_str = to_s

    # @return [String] a JSON string
    def to_json(*args) = to_s.to_json(*args)

    # For Rails, which builds JSON from this.
    # @return [String]
    def as_json(*) = to_s

    # @return [Boolean] whether the other is the same cursor, or its text
    def ==(other) = other.respond_to?(:to_str) && to_s == other.to_str

    # @return [Boolean] whether the other is a cursor, and the same
    def eql?(other) = other.is_a?(Cursor) && to_s == other.to_s

    # @return [Integer]
    def hash = to_s.hash

    # @return [String]
    def inspect = "#<#{self.class} #{self}>"

    # For Marshal, and so for caches.
    # @api private
    def _dump(_level) = to_s
  end
end
