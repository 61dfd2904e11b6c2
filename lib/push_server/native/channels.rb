# frozen_string_literal: true

# Documentation of native methods: see client.rb.
module PushServer
  # @api private
  module Channels
    # @!method self.define(glob, history, ttl, slow, presence)
    #   See {PushServer.channel}.

    # @!method self.publish(channel, data, event, store, except, binary)
    #   See {PushServer.publish}. `event`: false is the default, nil is none. `binary`: with nil the String's encoding
    #   decides.

    # @!method self.fits?(channel, data, event)
    #   Whether the channels of this process can hold a message with this text: `channel_memory`. Publishes nothing.
    #   @raise [ArgumentError] if {publish} would raise it for another reason

    # @!method self.cursor
    #   See {PushServer.cursor}.

    # @!method self.history(channel, since, limit)
    #   See {PushServer.history}.
    #   @return [Array(Array, Boolean)] an Array for each message (cursor, event, data), and whether none is missing

    # @!method self.present(channel)
    #   See {PushServer.present}.
    #   @return [Hash{String => String}] JSON by member

    # @!method self.names
    #   See {PushServer.channels}.

    # @!method self.disconnect(member)
    #   See {PushServer.disconnect}.

    # @!method self.use_hub(process, generation, workers, settings)
    #   Makes the channels of this process anew, as those of a worker: the hub orders their messages. The rules that the app has
    #   set stay. Connections to the hub come over the {NativeLifeline}. To be called before the server of the process is made.
    #   @param process [Integer] the number of this start of a worker, below 2**20
    #   @param generation [Integer] how often the app was loaded anew
    #   @param workers [Integer] how many workers share `channel_memory`
    #   @param settings [Hash] as for {NativeServer}
    #   @raise [IOError] if the system has no thread to give, or the process has a server

    # @!method self.await_hub(seconds)
    #   Waits for what the hub has kept: before that, no client is to be served. To be called when the app is loaded, since its
    #   rules say which histories this process takes over.
    #   @return [Boolean] whether it has come; true without a hub

    # @!method self.settle(seconds)
    #   Waits until all that this process has published has its number, and the hub knows which members it has disconnected.
    #   @return [Boolean] whether it has

    # @!method self.close_connection
    #   See {Outside.close}.
  end

  class Cursor
    # @!method to_s
    #   Waits for the number of its message, if the message has none yet.
    #   @return [String] the cursor as clients send it back, such as `"cc8cae96a686-17"`
    #   @raise [EngineUnavailable] if the message has no number within `publish_timeout`
    #   @raise [ArgumentError] if the hub has refused it: it is longer than the hub accepts
    #   @raise [Error] if it was lost, or if the hub has refused it because there are too many channels

    # @!method self._load(text)
    #   For Marshal.
    #   @api private
    #   @return [Cursor]
    #   @raise [ArgumentError] if the text is not a cursor
  end
end
