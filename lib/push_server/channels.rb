# frozen_string_literal: true

require "json"
require_relative "cursor"

# Channels: one log of messages, and clients that read it (see {Client#subscribe}). All methods may be called from any thread,
# also before a server has started. In a process without a server, such as a console, a job or a forked child, {publish},
# {cursor} and {disconnect} ask the server (docs/publishing.md); the others raise an {Error}.
module PushServer
  # The native half. The arguments of `define`, `publish` and the others are positional.
  # @api private
  module Channels
    # An argument that is not given, where nil has a meaning.
    UNSET = false
    # Flags of `publish`: the message belongs to the history; it may be compressed.
    STORE = 1
    COMPRESS = 2
    # How many messages are kept if history is on without a number.
    MESSAGES = 100
    # For how many seconds they are kept.
    SECONDS = 300

    class << self
      # @return [Integer] how many messages `history:` keeps
      def history_length(history, ttl)
        case history
        when true then MESSAGES
        when UNSET, nil then ttl ? MESSAGES : 0
        when Integer
          return history unless history.negative?

          raise ArgumentError, "history: must be 0 or more messages, not #{history}"
        else raise TypeError, "history: must be a number of messages, not #{history.class}"
        end
      end

      # @return [Float, nil] how long `ttl:` keeps them
      def seconds(ttl)
        return SECONDS.to_f if ttl == UNSET
        return if ttl.nil?
        raise TypeError, "ttl: must be a number of seconds or nil, not #{ttl.class}" unless ttl.is_a?(Numeric)
        raise ArgumentError, "ttl: must be more than 0 seconds, not #{ttl}" unless ttl.positive?

        ttl.to_f
      end

      # @return [Boolean, nil] whether `as:` says that data is binary; nil if it says nothing
      def binary?(type)
        return type && type == :binary if [nil, :text, :binary].include?(type)

        raise ArgumentError, "as: can be :text or :binary, not #{type.inspect}"
      end

      # @return [Integer] the flags of `publish`
      def flags(store, compress) = (store ? STORE : 0) | (compress ? COMPRESS : 0)

      # @return [String] a payload: text, bytes, or JSON
      def encode(data) = data.is_a?(String) ? data : data.to_json
    end
  end
  private_constant :Channels

  # A part of a channel's past: an Array of {Message}s, the oldest first. Any thread, as far as Array is.
  class History < Array
    def initialize(messages, complete)
      super(messages)
      @complete = complete
    end

    # Whether these are the first messages after `since:`. False if some of those are gone, or if this is not known; then
    # these are the newest messages.
    def complete? = @complete
  end

  # A message of a channel's {PushServer.history}. `id` is the cursor behind it; `event` its name, nil for the default.
  Message = Struct.new(:id, :event, :data)

  class << self
    # Sets the rules of all channels whose names match a pattern. If several rules match, the one that was set last counts,
    # so set general rules first. Channels that no rule matches keep no messages, and their slow clients are closed.
    #
    # @example
    #   PushServer.channel "chat:*", history: 100, ttl: 300, presence: true
    # @param glob [String] `*` is any text, `?` any character, `[a-z]` one of these; a character after `\` is
    #   itself
    # @param history [Integer, true] how many messages are kept for clients that come back; true is 100
    # @param ttl [Numeric, nil] for how many seconds (300, if history is on); nil is until newer messages replace them
    # @param slow [:resume, :drop, :latest] what happens to a client that reads too slowly: it is closed, and resumes when
    #   it reconnects; or it skips messages, and is told how many; or it skips to the newest message, and is told nothing
    # @param presence [Boolean] whether members are announced
    def channel(glob, history: Channels::UNSET, ttl: Channels::UNSET, slow: :resume, presence: false)
      length = Channels.history_length(history, ttl)
      raise TypeError, "slow: must be a Symbol, not #{slow.class}" unless slow.is_a?(Symbol)

      Channels.define(glob, length, Channels.seconds(ttl), slow, presence ? true : false)
      nil
    end

    # Publishes a message to a channel's subscribers. It never waits for them. In a process without a server it waits, without
    # Ruby's lock, until a server has given the message its number.
    #
    # @example
    #   PushServer.publish "chat:42", { from: "Ana", text: "hi" }
    # @param channel [String, Symbol]
    # @param data [String, #to_json] UTF-8 is text, ASCII-8BIT is bytes; anything else becomes JSON. Bytes that are valid
    #   UTF-8 are a binary message to WebSockets, but text to event streams
    # @param event [String, nil] the event's name on SSE and push.v1; nil is none; by default, that of the option sse_event
    # @param store [Boolean] whether it belongs to the channel's history
    # @param as [:text, :binary, nil] what a String is for all clients; nil: its encoding decides
    # @param except [Client, nil] a client that is skipped; it counts as having got the message
    # @param compress [Boolean] whether it may be compressed for WebSockets, with the option websocket_compression
    # @return [Cursor] the cursor of the message: a client that starts from there gets what comes after
    # @raise [ArgumentError] for a name or text that is not valid
    # @raise [EngineUnavailable] if several processes share one log, and it takes no message for `publish_timeout`; or if this
    #   process has no server and finds none. The message says whether the server may have got it
    # @raise [Error] when there are too many channels
    def publish(channel, data, event: Channels::UNSET, store: true, except: nil, as: nil, compress: true)
      flags = Channels.flags(store, compress)
      Channels.publish(channel, Channels.encode(data), event, flags, except, Channels.binary?(as))
    end

    # The current position of all channels. A page that is rendered with this cursor connects with it as `?last_event_id=`,
    # and misses nothing that is published in between (to channels with history).
    # @return [Cursor]
    def cursor = Channels.cursor

    # The messages that a channel keeps: the first ones after a cursor. The newest ones if no cursor is given, or if
    # messages after it are gone ({History#complete?}).
    # @param since [Cursor, String, nil] a cursor
    # @param limit [Integer] how many at most
    # @return [History] the oldest first
    # @raise [ArgumentError] for a name or limit that is not valid
    def history(channel, since: nil, limit: 100)
      raise TypeError, "limit: must be a number of messages, not #{limit.class}" unless limit.is_a?(Integer)
      raise ArgumentError, "limit: must be 0 or more messages, not #{limit}" if limit.negative?

      messages, complete = Channels.history(channel, since, limit)
      History.new(messages.map { |id, event, data| Message.new(id, event || nil, data) }, complete)
    end

    # The members of a channel with presence, at all workers. Those that this process has subscribed before are among them: the
    # call waits until the hub knows of them, at most `publish_timeout`.
    # @return [Hash{String => Object}] by name, what was given as `info:`
    def present(channel) = Channels.present(channel).transform_values { |info| JSON.parse(info) }

    # @return [Array<String>] the channels that have messages or subscribers
    def channels = Channels.names

    # Closes all clients that have subscribed as this member, with or without presence (WebSocket 1008); on SSE and
    # push.v1 the event `push.bye` tells them not to reconnect. Those of other workers are closed a moment later. In a process
    # without a server it waits until the server has taken it.
    # @param member [String, Symbol, Integer]
    # @return [Integer] how many clients of this process; 0 in a process without a server
    # @raise [EngineUnavailable] if the workers' hub is away and too much waits for it, or if this process has no server and
    #   finds none
    def disconnect(member:) = Channels.disconnect(member)
  end
end
