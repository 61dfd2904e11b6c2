# frozen_string_literal: true

require "io/wait"
require "json"
require_relative "../errors"
require_relative "socket_places"

module PushServer
  # Sends one command to a server's control socket, and reads the answers; see {ControlServer}. One thread.
  class ControlClient
    # No server listens at any of the places.
    class NotRunning < Error; end

    # The server has ended the connection before it has answered.
    class Ended < Error; end

    # The server does not answer, or not in time.
    class Silent < Error; end

    # Seconds that a server has to begin to answer.
    PATIENCE = 10
    CHUNK = 65_536
    SILENT = "the server does not answer: it hangs, or it still loads the app"
    private_constant :PATIENCE, :CHUNK, :SILENT

    # @param places [SocketPlaces] where the socket may be
    def initialize(places)
      @places = places
    end

    # Sends a command and waits for its last answer.
    # @param command [String] a key of {ControlServer::COMMANDS}
    # @param patience [Numeric] seconds that the server has to begin to answer
    # @param timeout [Numeric, nil] seconds for all of it; nil: for ever
    # @param fields [Hash] what the command needs
    # @yieldparam text [String] each progress
    # @return [Hash{Symbol => Object}] the last answer: `ok`, and what the command gives, or `error`
    # @raise [NotRunning, Ended, Silent, Error]
    def call(command, patience: PATIENCE, timeout: nil, **fields, &)
      socket = connect
      buffer = String.new(encoding: Encoding::BINARY)
      deadline = timeout && (now + timeout)
      # A server that has just been killed takes no more.
      socket.write("#{JSON.generate({ command: command, **fields })}\n")
      accepted = false
      loop do
        limit = accepted ? deadline : now + patience
        line = read_line(socket, buffer, limit) or raise Silent, accepted ? late(timeout) : SILENT
        answer = JSON.parse(line, symbolize_names: true)
        accepted = true
        return answer if answer.key?(:ok)

        yield answer[:progress] if answer[:progress] && block_given?
      end
    rescue Errno::EPIPE, Errno::ECONNRESET
      raise Ended, "the server has ended the connection"
    rescue JSON::ParserError
      raise Error, "#{@path} is not the control socket of a push_server: its answer is not JSON"
    ensure
      socket&.close
    end

    private

    def connect
      @places.connect(:control)
    rescue Error => e
      raise NotRunning, e.message
    end

    def late(timeout) = "the server has not finished within #{timeout} s, and goes on with it"

    # @return [String, nil] nil if the time is over
    def read_line(socket, buffer, deadline)
      until (line = buffer.slice!(/\A[^\n]*\n/n))
        return unless socket.wait_readable(deadline && [deadline - now, 0].max)

        data = socket.read_nonblock(CHUNK, exception: false)
        raise Ended, "the server has ended the connection" if data.nil?

        buffer << data unless data == :wait_readable
      end
      line
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
