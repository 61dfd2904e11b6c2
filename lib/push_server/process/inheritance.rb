# frozen_string_literal: true

require "json"
require "socket"
require_relative "../net/listener"
require_relative "exec_variables"

module PushServer
  # The sockets that a process keeps open while it executes itself anew. Their descriptors have the same numbers before and
  # after; what they are called travels in an environment variable, or in whatever else {#to_h} is written to.
  #
  # A socket is known by its place: the URL that `bind` has, as it was typed, so that `tcp://127.0.0.1:0` keeps the port that
  # the system has chosen; or the name of the control or publish socket. Not thread-safe.
  class Inheritance
    # The environment variable.
    VARIABLE = ExecVariables::SOCKETS
    # Of the form in which sockets are described. A version that it does not know makes a process refuse the inheritance.
    VERSION = 1
    private_constant :VERSION

    # What the process before this one has left to this process. The first call must come before the app is loaded.
    # @return [Inheritance]
    # @raise [Error]
    def self.current = @current ||= take(ExecVariables.hidden)

    # What the process before this one has left, and removes it from the environment, so that no child sees it.
    # @param env [#delete] the environment variables
    # @return [Inheritance] empty if there is nothing, or if the variable was meant for another process
    # @raise [Error] if this version cannot read it, or if a socket is missing
    def self.take(env = ENV)
      text = env.delete(VARIABLE).to_s
      return new if text.empty?

      described = JSON.parse(text)
      described["pid"] == Process.pid ? from_h(described) : new
    rescue JSON::ParserError
      raise Error, "the variable #{VARIABLE} is only for push_server itself: remove it from the environment"
    end

    # The reverse of {#to_h}, in the process that has the descriptors.
    # @param described [Hash{String => Object}] as JSON gives it
    # @raise [Error]
    def self.from_h(described)
      unless described["version"] == VERSION
        raise Error, "the sockets that this process inherits are described in a form that push_server #{PushServer::VERSION} " \
                     "does not know. Stop the server, and start it again"
      end

      described.fetch("sockets").each_with_object(new) do |(place, listeners), inheritance|
        inheritance.add(place, listeners.map { |listener| Listener.described(adopt(listener.fetch("fd")), listener) })
      end
    rescue KeyError, NoMethodError, TypeError => e
      raise Error, "the description of the inherited sockets is not complete: #{e.message}"
    rescue SystemCallError, ArgumentError => e
      raise Error, "an inherited socket is missing: #{e.message}"
    end

    # The socket of a descriptor. Programs that the process starts do not inherit it.
    def self.adopt(number)
      socket = Socket.for_fd(number)
      socket.close_on_exec = true
      socket
    end
    private_class_method :adopt

    def initialize
      # Pairs of a place and its listeners. The same place may be there twice, such as port 0.
      @sockets = []
    end

    # @param place [String] the URL as `bind` has it, or a name
    # @param listeners [Array<Listener>]
    # @return [self]
    def add(place, listeners)
      @sockets << [place, listeners]
      self
    end

    # The listener of the first of these places that is here, which belongs to the caller from now on.
    # @param places [Array<String>] of one listener each
    # @return [Listener, nil]
    def claim_first(places) = places.lazy.filter_map { |place| claim(place) }.first&.first

    # The listeners of a place, which belong to the caller from now on.
    # @return [Array<Listener>, nil] nil if there are none
    def claim(place)
      index = @sockets.index { |known, _| known == place }
      index && @sockets.delete_at(index).last
    end

    # @return [Array<String>] the places that are here
    def places = @sockets.map(&:first)

    # Whether there is nothing, or nothing is left.
    def empty? = @sockets.empty?

    # @return [Array<Array(String, Array<Listener>)>] each place with its listeners
    def to_a = @sockets.dup

    # Closes the sockets that were not claimed, and removes the files of Unix sockets.
    # @return [Array<String>] where people found these sockets
    def release = @sockets.slice!(0..).flat_map(&:last).each(&:retire).map(&:url).uniq

    # What {.from_h} needs; JSON can represent it.
    # @return [Hash{Symbol => Object}]
    def to_h
      sockets = @sockets.map do |place, listeners|
        [place, listeners.map { |listener| { fd: listener.fileno, **listener.description(file: true) } }]
      end
      { version: VERSION, pid: Process.pid, sockets: sockets }
    end

    # The environment variable for the program that this process becomes.
    # @return [Hash{String => String}] for Process.exec
    def environment = { VARIABLE => JSON.generate(to_h) }

    # @return [Array<Socket>] all that are here
    def sockets = @sockets.flat_map(&:last).map(&:socket)

    # The descriptors that stay open.
    # @return [Hash{Integer => Integer}] options for Process.exec or Process.spawn
    def descriptors = sockets.to_h { |socket| [socket.fileno, socket.fileno] }
  end
end
