# frozen_string_literal: true

require "json"

# Channels: one log of messages for the process, and clients that read it (see {Client#subscribe}). All of this may be
# called from any thread, also before a server has started and without one. In a process that was forked off one that
# serves it raises an {Error}: what is published there would reach nobody.
module PushServer
  # The native half. `define`, `publish` and so on take every argument by its place.
  # @api private
  module Channels
    # An argument that was left out, where nil means something.
    UNSET = false
    # What is kept where history is on, and not said how much.
    MESSAGES = 100
    # For how many seconds.
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

    # Whether what was published after `since:` begins here; false if some of it is gone, or if nobody can say: then
    # these are the newest.
    def complete? = @complete
  end

  # A message of a channel's {PushServer.history}. `id` is the cursor behind it; `event` its name, nil for the default.
  Message = Struct.new(:id, :event, :data)

  class << self
    # Sets the rules of all channels whose names match a pattern, and of the one it names. Of several rules that match
    # the last one set counts, so the general come first. Channels that no rule matches keep nothing, and clients that
    # are slow are closed.
    #
    # @example
    #   PushServer.channel "chat:*", history: 100, ttl: 300, presence: true
    # @param glob [String] `*` any text, `?` a character, `[a-z]` one of these, `\` makes the next one plain
    # @param history [Integer, true] how many messages are kept for clients that come back; true is 100
    # @param ttl [Numeric, nil] for how many seconds (300, where history is on); nil is until newer ones take their place
    # @param slow [:resume, :drop, :latest] what happens to a client that does not keep up: it is closed, and resumes when
    #   it returns; or it skips what it has missed, and is told how much; or it skips to the newest message, untold
    # @param presence [Boolean] whether members are announced
    def channel(glob, history: Channels::UNSET, ttl: Channels::UNSET, slow: :resume, presence: false)
      length = Channels.history_length(history, ttl)
      raise TypeError, "slow: must be a Symbol, not #{slow.class}" unless slow.is_a?(Symbol)

      Channels.define(glob, length, Channels.seconds(ttl), slow, presence ? true : false)
    end

    # Publishes a message to a channel's subscribers. It never waits for them.
    #
    # @example
    #   PushServer.publish "chat:42", { from: "Ana", text: "hi" }
    # @param channel [String, Symbol]
    # @param data [String, #to_json] UTF-8 is text, ASCII-8BIT is bytes; anything else becomes JSON. Bytes that are valid
    #   UTF-8 are a binary message to WebSockets, but text to event streams
    # @param event [String, nil] the event's name on SSE and push.v1; nil is none; left out, the option sse_event
    # @param store [Boolean] whether it belongs to the channel's history
    # @param as [:text, :binary, nil] what a String is for all clients, whatever its encoding; nil: its encoding says so
    # @param except [Client, nil] a client that does not get it, but counts as having got it
    # @return [String] the cursor behind it: who starts from there gets what comes after
    # @raise [ArgumentError] for a name or text that cannot be
    # @raise [Error] in a forked process, or when there are too many channels
    def publish(channel, data, event: Channels::UNSET, store: true, except: nil, as: nil)
      Channels.publish(channel, Channels.encode(data), event, store ? true : false, except, Channels.binary?(as))
    end

    # Where all channels are now. A page that is rendered with it connects with `?last_event_id=` and it, and misses
    # nothing that is published in between (to channels with history).
    # @return [String]
    def cursor = Channels.cursor

    # What a channel keeps: the first messages after a cursor, or the newest if there is none, or if messages after it
    # are gone ({History#complete?}).
    # @param since [String, nil] a cursor
    # @param limit [Integer] how many at most
    # @return [History] the oldest first
    # @raise [ArgumentError] for a name or limit that cannot be
    def history(channel, since: nil, limit: 100)
      raise TypeError, "limit: must be a number of messages, not #{limit.class}" unless limit.is_a?(Integer)
      raise ArgumentError, "limit: must be 0 or more messages, not #{limit}" if limit.negative?

      messages, complete = Channels.history(channel, since, limit)
      History.new(messages.map { |id, event, data| Message.new(id, event || nil, data) }, complete)
    end

    # Who is there.
    # @return [Hash{String => Object}] what each member gave as `info:`, by name
    def present(channel) = Channels.present(channel).transform_values { |info| JSON.parse(info) }

    # @return [Array<String>] the channels that have messages or subscribers
    def channels = Channels.names

    # Closes all clients that have subscribed as this member, with or without presence (WebSocket 1008); on SSE and
    # push.v1 `push.bye` tells them not to come back.
    # @return [Integer] how many
    def disconnect(member:) = Channels.disconnect(member)
  end
end
