# frozen_string_literal: true

require "socket"
require_relative "../../errors"
require_relative "../listener"

module PushServer
  module Endpoint
    # fd://3: a socket that listens already, which the process has inherited, for example from a supervisor or systemd.
    class Descriptor
      URL = %r{\Afd://(?<number>\d{1,9})\z}
      private_constant :URL

      # @return [Integer] the number of the file descriptor
      attr_reader :number

      # @param url [String] fd://number
      # @raise [OptionError]
      def self.parse(url, **)
        match = URL.match(url)
        raise OptionError, "cannot listen on #{url.inspect}: give fd:// and the number of a file descriptor" unless match

        new(match[:number].to_i)
      end

      def initialize(number)
        @number = number
        freeze
      end

      # Takes the socket over. What is not a socket that listens is left alone.
      # @return [Array<Listener>]
      # @raise [BindError]
      def open
        socket = Socket.for_fd(number)
        socket.autoclose = false
        listener = listener(socket) || raise(BindError, "cannot listen on #{self}: it is not a stream socket that listens")
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

      # @return [Descriptor] itself: its number stays
      def bound_to(_listeners) = self

      # @return [String]
      def to_s = "fd://#{number}"

      private

      def listener(socket)
        return unless socket.getsockopt(:SOCKET, :TYPE).int == Socket::SOCK_STREAM && socket.getsockopt(:SOCKET, :ACCEPTCONN).bool

        address = socket.local_address
        return Listener.tcp(socket) if address.ip?

        # Its file belongs to the process that made it, so it is not removed here.
        Listener.unix(socket, address.unix_path) if address.unix?
      end
    end
  end
end
