# frozen_string_literal: true

require "socket"
require_relative "../../errors"
require_relative "../listener"

module PushServer
  module Endpoint
    # fd://3: a socket that listens already, which the process has inherited, for example from a supervisor. fd://web: one that
    # systemd has passed with this name; see {Activation}.
    class Descriptor
      URL = %r{\Afd://(?:0*(?<number>\d{1,9})|(?<name>[^/?\s]{1,255}))\z}
      private_constant :URL

      # @return [Integer, nil] the number of the file descriptor; nil: it has a name
      attr_reader :number
      # @return [String] what the URL has behind fd://
      attr_reader :name

      # @param url [String] fd://number or fd://name
      # @raise [OptionError]
      def self.parse(url, **)
        match = URL.match(url)
        unless match
          raise OptionError, "cannot listen on #{url.inspect}: give fd:// and the number of a file descriptor, or the name " \
                             "of a socket from systemd"
        end

        new(match[:name] || match[:number].to_i)
      end

      # What a descriptor listens on.
      # @param socket [Socket]
      # @return [Listener, nil] nil if it is not a stream socket that listens
      def self.listener(socket)
        return unless socket.getsockopt(:SOCKET, :TYPE).int == Socket::SOCK_STREAM && socket.getsockopt(:SOCKET, :ACCEPTCONN).bool

        address = socket.local_address
        return Listener.tcp(socket) if address.ip?

        # Its file belongs to the process that made it, so it is not removed here.
        Listener.unix(socket, address.unix_path) if address.unix?
      end

      # @param descriptor [Integer, String] its number or its name
      def initialize(descriptor)
        @number = descriptor if descriptor.is_a?(Integer)
        @name = descriptor.to_s.dup.freeze
        freeze
      end

      # Takes the socket over. What is not a socket that listens is left alone.
      # @return [Array<Listener>]
      # @raise [BindError]
      def open
        raise BindError, "cannot listen on #{self}: systemd has passed no socket of that name" unless number

        socket = Socket.for_fd(number)
        socket.autoclose = false
        listener = Descriptor.listener(socket)
        raise BindError, "cannot listen on #{self}: it is not a stream socket that listens" unless listener

        # Programs that the app starts do not inherit it.
        socket.close_on_exec = true
        socket.autoclose = true
        [listener]
      rescue Errno::EBADF, ArgumentError
        # Ruby raises these for what is not a socket, too, and for the descriptors that it reserves for itself.
        raise BindError, "cannot listen on #{self}: this process has not inherited a socket of that number"
      rescue SystemCallError => e
        raise BindError, "cannot listen on #{self}: #{e.message}"
      end

      # As for {Tcp}: nothing needs to be done.
      def prepare; end

      # As for {Tcp}: connections are not encrypted.
      def secure(listeners); end

      # @return [Descriptor] itself: its name stays
      def bound_to(_listeners) = self

      # @return [String]
      def to_s = "fd://#{name}"
    end
  end
end
