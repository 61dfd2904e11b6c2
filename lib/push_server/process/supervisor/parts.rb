# frozen_string_literal: true

require_relative "../metrics_socket"
require_relative "../protocol"
require_relative "../publish_socket"

module PushServer
  class Supervisor
    # What the parts of a supervisor share.
    class Parts
      # @return [EventLoop]
      attr_reader :events
      # @return [Reaper]
      attr_reader :reaper
      # @return [Options]
      attr_reader :options
      # @return [Hooks]
      attr_reader :hooks
      # @return [OriginalCommand] what starts the leader, or workers
      attr_reader :command
      # @return [Binder] the sockets that workers share
      attr_reader :binder
      # @return [PublishSocket] where processes without a server connect
      attr_reader :publish
      # @return [MetricsSocket] where the hub serves metrics
      attr_reader :metrics
      # @return [HubKeeper]
      attr_accessor :hub
      # @return [Slots] where workers count
      attr_accessor :slots
      # @return [Encryption] what workers need for TLS
      attr_accessor :encryption

      # @return [Boolean] whether this process becomes the parent of workers that a leader has forked: only Linux has that
      attr_accessor :adopts

      def initialize(options, hooks, command, binder)
        @events = EventLoop.new
        @reaper = Reaper.new
        @options = options
        @hooks = hooks
        @command = command
        @binder = binder
        @publish = PublishSocket.new(options)
        @metrics = MetricsSocket.new(options)
      end

      # The sockets on which workers accept.
      # @return [Array<Socket>]
      def sockets = binder.listeners.map(&:socket)

      # What workers need to know about each of them.
      # @return [Array<Hash>]
      def descriptions = binder.listeners.map(&:description)

      # What leaders and workers get with their first message.
      # @return [Hash{Symbol => Object}]
      def settings
        # A path need not be UTF-8.
        places = publish.paths.map { |path| [path].pack("m0") }
        { **Protocol.fields, tag: tag, adopts: adopts, options: options.dump, publish: places }
      end

      # The name of the server in process titles.
      def tag = options.tag(command.folder)
    end
  end
end
