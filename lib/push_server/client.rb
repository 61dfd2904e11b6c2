# frozen_string_literal: true

require_relative "channels"

module PushServer
  # Channels of a client; the rest of the class is native.
  class Client
    # Subscribes to a channel. Its messages go to the client, without Ruby being called: on SSE and push.v1 as events with
    # an id, on other WebSockets the bare data. Subscriptions made in `on_open` are collected; when it returns, what the
    # client has missed in all of them comes in one replay, and then what is published.
    #
    # With a block or handler, that is called instead, with channel and data. It never runs at the same time as another
    # callback of the client.
    #
    # @example
    #   client.subscribe "chat:42", member: user.id, info: { name: user.name }
    #   client.subscribe("chat:42") { |channel, data| client.write(data.upcase) }
    #   client.subscribe(to: "news.*", match: :redis, handler: callable)
    # @param channel [String, Symbol]
    # @param to [String, Symbol] the same, by its name in Iodine
    # @param since [Cursor, String, nil] the cursor to replay from; nil is no replay. By default it is the client's cursor: its
    #   `Last-Event-ID`, or `last_event_id` in its query
    # @param member [String, Symbol, Integer, nil] the member that the client is: for {PushServer.disconnect}, and for
    #   other clients in channels with presence
    # @param info [#to_json] what other clients are told about the member: at most 64 KiB of JSON
    # @param match [:redis, nil] :redis: `channel` is a pattern, as for {PushServer.channel}
    # @param as [:text, :binary, nil] how a handler, or a WebSocket without push.v1, gets the data; nil: as it was published
    # @param handler [#call] called with channel and data
    # @return [Boolean] false if the client is closed or closing
    # @raise [ArgumentError] for a name that is not valid or too long, and for `info` that is too long
    # @raise [Error] for too many subscriptions
    def subscribe(channel = nil, to: nil, since: Channels::UNSET, member: nil, info: nil, match: nil, as: nil,
                  handler: nil, &block)
      callable = handler || block
      pattern = pattern?(match)
      binary = Channels.binary?(as)
      raise ArgumentError, "member: is for a channel, not for a pattern" if member && pattern

      unless callable
        return subscribe_channel(channel || to, pattern, since, member, info.to_json, binary)
      end
      raise ArgumentError, "member: is for subscriptions without a block or handler" if member
      raise ArgumentError, "the handler has no method call: #{callable.inspect[0, 60]}" unless callable.respond_to?(:call)

      subscribe_callable(channel || to, pattern, since, typed(callable, as))
    end

    # Ends the subscriptions to a channel, those with blocks too.
    # @return [Boolean] whether there was one
    def unsubscribe(channel = nil, to: nil, match: nil) = unsubscribe_channel(channel || to, pattern?(match))

    # As {PushServer.publish}. The client itself gets the message, too, if it has subscribed and is not `except`.
    # @return [Cursor] the cursor behind it
    def publish(channel, data, **options) = PushServer.publish(channel, data, **options)

    private

    def pattern?(match)
      return match == :redis if [nil, :redis].include?(match)

      raise ArgumentError, "match: can be :redis or nil, not #{match.inspect}"
    end

    def typed(callable, type)
      case type
      when nil then callable
      when :text then ->(channel, data) { callable.call(channel, data.dup.force_encoding(Encoding::UTF_8)) }
      when :binary then ->(channel, data) { callable.call(channel, data.b) }
      end
    end
  end
end
