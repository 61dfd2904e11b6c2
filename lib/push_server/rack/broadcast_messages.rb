# frozen_string_literal: true

require "json"
require_relative "../channels"
require_relative "../errors"

module PushServer
  # The messages of one request to {Broadcast}: an object such as `{"stream": "orders", "data": "…"}`, or an Array of such
  # objects. Made and used by one thread.
  class BroadcastMessages
    # The request is refused. The message is one line for its sender.
    class Refused < StandardError
      # @return [Integer] the status of the answer
      attr_reader :status

      def initialize(status, message)
        @status = status
        super(message)
      end
    end

    # The fields of a message.
    FIELDS = %w[stream data event store compress].freeze
    EXAMPLE = '{"stream": "orders", "data": "paid"}'
    # Characters of a text of the sender that an answer repeats.
    EXCERPT = 40
    Message = Struct.new(:stream, :data, :event, :store, :compress)
    private_constant :FIELDS, :EXAMPLE, :EXCERPT, :Message

    # Reads all messages, and checks the types of their fields.
    # @param text [String] the body of the request
    # @param max [Integer] how many messages there may be
    # @raise [Refused] 400, or 413 for too many
    # @return [BroadcastMessages]
    def self.parse(text, max:)
      text = text.dup.force_encoding(Encoding::UTF_8)
      raise Refused.new(400, "The body is not JSON: it is not valid UTF-8") unless text.valid_encoding?
      raise Refused.new(400, "The body is empty: send #{EXAMPLE}") if text.strip.empty?

      value = JSON.parse(text)
      raise Refused.new(400, "There is no message in the array") if value == []
      raise Refused.new(413, "More than the #{max} messages that publish_queue allows") if value.is_a?(Array) && value.size > max

      new(value)
    rescue JSON::ParserError
      raise Refused.new(400, "The body is not JSON, or nested too deeply")
    end

    # @param value [Object] what the JSON says
    # @raise [Refused] 400
    def initialize(value)
      @array = value.is_a?(Array)
      @size = @array ? value.size : 1
      @messages = (@array ? value : [value]).each_with_index.map { |object, index| message(object, index) }
    end

    # Whether the channels of this process take each of the messages: their names, and their lengths.
    # @raise [Refused] 400 or 413
    # @return [void]
    def check
      @messages.each_with_index do |message, index|
        next if Channels.fits?(message.stream, message.data, message.event)

        wrong(index, "the data is longer than channel_memory allows", 413)
      rescue ArgumentError => e
        wrong(index, e.message)
      end
    end

    # Publishes all, and waits until they have their numbers, at most publish_timeout.
    # @raise [Refused] 503 if some are not published, or perhaps not: the message says which; 413 if one is too long for the hub
    # @return [Cursor] that of the last message
    def publish
      cursors = []
      @messages.each do |message|
        flags = Channels.flags(message.store, message.compress)
        cursors << Channels.publish(message.stream, message.data, message.event, flags, nil, false)
      end
      await(cursors)
      cursors.last
    rescue Error => e
      raise Refused.new(503, "#{e.message}: #{published(cursors.size)}")
    end

    private

    # Waits for the last number. Then the others are there, too, or will never be.
    def await(cursors)
      cursors.last.to_s
      cursors.each(&:to_s)
    rescue EngineUnavailable => e
      all = @size == 1 ? "the message" : "all #{@size} messages"
      raise Refused.new(503, "#{e.message}: #{all} may be published nevertheless")
    rescue Error, ArgumentError => e
      # The hub has refused some: there are too many channels, or its limits are lower.
      numbered = cursors.count { |cursor| numbered?(cursor) }
      raise Refused.new(e.is_a?(ArgumentError) ? 413 : 503, "#{e.message}: #{published(numbered)}")
    end

    def numbered?(cursor)
      cursor.to_s
      true
    rescue Error, ArgumentError
      false
    end

    def published(count)
      return "nothing was published" if count.zero?

      "#{count} of #{@size} messages #{count == 1 ? "was" : "were"} published"
    end

    def message(object, index)
      wrong(index, "a message is an object, such as #{EXAMPLE}") unless object.is_a?(Hash)

      unknown = (object.keys - FIELDS).first
      wrong(index, "there is no field #{unknown[0, EXCERPT].inspect}: the fields are #{FIELDS.join(", ")}") if unknown
      Message.new(stream(object, index), data(object, index), event(object, index), flag(object, index, "store"),
                  flag(object, index, "compress"))
    end

    def stream(object, index)
      stream = object["stream"]
      stream.is_a?(String) && !stream.empty? ? stream : wrong(index, "stream must be the name of a channel")
    end

    # A String as it is; of anything else, its JSON.
    def data(object, index)
      data = object.fetch("data") { wrong(index, "data is missing") }
      data.is_a?(String) ? data : JSON.generate(data)
    rescue JSON::GeneratorError
      wrong(index, "data has a number that is too large, or a text that is not valid UTF-8")
    end

    def event(object, index)
      event = object.fetch("event") { return Channels::UNSET }
      event.nil? || event.is_a?(String) ? event : wrong(index, "event must be a name, or null for none")
    end

    # True by default.
    def flag(object, index, name)
      flag = object.fetch(name, true)
      [true, false].include?(flag) ? flag : wrong(index, "#{name} must be true or false")
    end

    def wrong(index, text, status = 400)
      raise Refused.new(status, @array ? "Message #{index + 1} of #{@size}: #{text}" : text.sub(/\A./, &:upcase))
    end
  end
  private_constant :BroadcastMessages
end
