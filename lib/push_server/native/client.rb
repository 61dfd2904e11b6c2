# frozen_string_literal: true

# This folder documents the native methods and constants, which ext/push_server defines. YARD reads it; nothing loads it.
# spec/unit/documentation_spec.rb checks that it names all native methods and constants, and no others.
module PushServer
  # One push connection: a WebSocket, an event stream, or a series of long polls. The server makes it and gives the same
  # object to all callbacks. The object may outlive its connection. All methods may be called from any thread; none waits
  # for the network. In a forked child they do nothing, and {#write} returns false.
  class Client
    # @!method write(data, event: nil, id: nil, retry: nil, compress: true)
    #   Queues a message. UTF-8 is text; ASCII-8BIT is bytes. The keywords except `compress` are the fields of a Server-Sent
    #   Event; a WebSocket ignores them.
    #   @param data [String]
    #   @param event [String, nil] the event's name; nil is none; by default, that of the option sse_event
    #   @param id [String, nil] the event's id
    #   @param retry [Integer, nil] milliseconds after which an EventSource connects again
    #   @param compress [Boolean] whether a WebSocket may get it compressed, with the option websocket_compression
    #   @return [Boolean] false if the client is closed or closing, or too slow: then nothing is queued
    #   @raise [TypeError] for data that is not a String
    #   @raise [ArgumentError] for text that is not valid UTF-8, and for a field that is not valid

    # @!method pending
    #   @return [Integer] how many writes wait for the network; -1 when the client is closed

    # @!method close(code = 1000, reason = nil)
    #   Sends what is queued, then closes the connection. Later calls change nothing. RFC 6455 section 7.4 has the codes;
    #   an event stream has none and just ends.
    #   @param code [Integer, nil] 1000, 1001, 1003, 1007 to 1014, or 3000 to 4999
    #   @param reason [String, nil] at most 123 bytes of UTF-8
    #   @return [nil]
    #   @raise [ArgumentError] for another code or reason

    # @!method open?
    #   @return [Boolean] false as soon as one of the two sides has begun to close

    # @!method env
    #   @return [Hash, nil] the Rack env of the request, without the entries that only the request needed; nil after `on_close`

    # @!method last_event_id
    #   @return [String, nil] the cursor in the request: its `Last-Event-ID`, or `last_event_id` in its query

    # @!method close_code
    #   @return [Integer, nil] the code of the end, RFC 6455 section 7.4; nil before the end, and for event streams

    # @!method close_reason
    #   @return [String, nil] the reason of the end; nil if {#close_code} is nil

    # @!method protocol
    #   @return [Symbol] :websocket or :sse; a long poll is :sse

    # @!method handler
    #   @return [Object] the object whose callbacks are called

    # @!method handler=(handler)
    #   Gives the connection another handler, after the events that wait; within a callback of the same client, when that
    #   returns. The old handler gets `on_close`, then the new one `on_open`.
    #   @param handler [Object] each callback is optional

    # @!method timeout
    #   @return [Integer, Float, nil] seconds of silence before a ping, or a comment on an event stream; nil is never

    # @!method timeout=(seconds)
    #   Sets {#timeout} for this client.
    #   @param seconds [Integer, Float, nil] nil is never
    #   @raise [TypeError] for something that is not a number
    #   @raise [ArgumentError] for 0 or less

    # @!method [](key)
    #   @return [Object, nil] the value that {#[]=} has stored

    # @!method []=(key, value)
    #   Stores a value with the connection, for the app.

    # @!method pubsub?
    #   @return [true] clients can subscribe; apps for Iodine ask

    # @!method recovered?
    #   @return [Boolean, nil] whether it got all messages that it had missed; nil on a first visit

    # @!method inspect
    #   @return [String] its protocol, address and state

    # @!method to_s
    #   @return [String] as {#inspect}
  end
end
