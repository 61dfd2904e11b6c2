# frozen_string_literal: true

require "json"
require "socket"
require_relative "../errors"
require_relative "../log"

module PushServer
  # Answers the commands of `push_server stop` and the like, at the control socket. A client sends a line of JSON, such as
  # `{"command":"stop"}`, and gets lines of JSON: first `{"accepted":true}`, then perhaps some `{"progress":"…"}`, and last
  # `{"ok":true, …}` or `{"ok":false,"error":"…"}`. Then the connection ends.
  #
  # It never waits. A client that sends nothing or reads nothing for {PATIENCE} seconds is dropped, and so is one that sends too
  # long a line. One thread: that of the loop.
  class ControlServer
    # What a client may ask for: its name => the method of the target. Each is called with a {Reply}, and with the field that
    # follows, if one does.
    COMMANDS = {
      "stop" => [:stop], "phased-restart" => [:phased_restart], "restart" => [:restart], "reload" => [:reload],
      "workers" => [:change_workers, "change"], "backtraces" => [:backtraces], "stats" => [:stats], "status" => [:status],
      "drain" => [:drain_worker, "worker"]
    }.freeze
    # Seconds.
    PATIENCE = 10
    MOST_CLIENTS = 32
    LONGEST_LINE = 4096
    # Bytes that wait for a client that does not read.
    MOST_UNSENT = 1 << 20
    CHUNK = 4096
    # Seconds until the next attempt, after the system had no descriptor for a client.
    RETRY_DELAY = 1
    private_constant :PATIENCE, :MOST_CLIENTS, :LONGEST_LINE, :MOST_UNSENT, :CHUNK, :RETRY_DELAY

    # The answer to one command, which its owner gives now or later. One thread: that of the server.
    class Reply
      def initialize(client)
        @client = client
      end

      # Tells how far it is.
      # @param text [String]
      def progress(text) = @client.answer(progress: text)

      # Ends the answer: it is done.
      # @param data [Hash] what JSON can represent
      def done(**data) = @client.answer(last: true, ok: true, **data)

      # Ends the answer: it cannot be done.
      # @param reason [String] one line
      def fail(reason) = @client.answer(last: true, ok: false, error: reason.to_s.lines.map(&:strip).join(" "))

      # Whether nothing more can be told: the answer has ended, or the client is gone.
      def ended? = @client.answered?
    end

    # @param listener [Listener] of the control socket; it stays the caller's
    # @param target [Object] has the methods in {COMMANDS}. It may raise an {Error} instead of failing the reply
    # @param loop [EventLoop]
    def initialize(listener, target, loop)
      @socket = listener.socket
      @target = target
      @loop = loop
      @clients = []
      accept_clients
    end

    # Ends all connections. A command without an answer fails.
    # @param reason [String] why
    def close(reason = "the server has stopped")
      stop_accepting
      @loop.cancel(@retry)
      @closed = true
      @clients.dup.each do |client|
        Reply.new(client).fail(reason) if client.asked? && !client.answered?
        client.drop
      end
    end

    # A connection. There is a deadline while the server waits for the client: for its request, or until it has taken the answer.
    class Connection
      # @param loop [EventLoop]
      # @yieldparam client [Connection] when it has ended
      def initialize(socket, loop, &on_end)
        @socket = socket
        @loop = loop
        @on_end = on_end
        @received = String.new(encoding: Encoding::BINARY)
        @unsent = String.new(encoding: Encoding::BINARY)
        expect_progress
      end

      # @return [Socket] for the loop
      def to_io = @socket
      # Whether something waits for the client to take it.
      def unsent? = !@socket.closed? && !@unsent.empty?
      # Whether the request is here, and whether nothing more can be answered.
      def asked? = @asked == true
      def answered? = @socket.closed? || @answered == true

      # Reads what has come.
      # @yieldparam line [String] the request, when it is whole
      def read
        data = @socket.read_nonblock(CHUNK, exception: false)
        return drop if data.nil?
        return if data == :wait_readable || asked? # what follows the request means nothing

        @received << data
        line = @received[/\A[^\n]*\n/n]
        return drop if (line || @received).bytesize > LONGEST_LINE
        return unless line

        @asked = true
        cancel_deadline
        yield line
      rescue SystemCallError, IOError
        drop
      end

      # Queues a line, and sends what the client takes now.
      def answer(last: false, **fields)
        return if answered?

        @answered = true if last
        @unsent << "#{JSON.generate(fields)}\n".b
        @unsent.bytesize > MOST_UNSENT ? drop : flush
      end

      # Sends what waits, as far as the client takes it now.
      def flush
        until @unsent.empty?
          count = @socket.write_nonblock(@unsent, exception: false)
          return (@deadline ||= expect_progress) if count == :wait_writable

          @unsent = @unsent.byteslice(count..)
          cancel_deadline
        end
        drop if @answered
      rescue SystemCallError, IOError
        drop
      end

      # Ends the connection. Idempotent.
      def drop
        return if @socket.closed?

        @loop.cancel(@deadline)
        @on_end.call(self)
        @socket.close
      end

      private

      def expect_progress = @deadline = @loop.after(PATIENCE) { drop }

      def cancel_deadline
        @loop.cancel(@deadline)
        @deadline = nil
      end
    end
    private_constant :Connection

    private

    # Further clients wait in the backlog while there are too many.
    def accept_clients
      @retry = nil
      return if @closed || @accepting || @clients.size >= MOST_CLIENTS

      @accepting = true
      @loop.watch(@socket) { accept }
    end

    def stop_accepting
      @loop.forget(@socket)
      @accepting = false
    end

    def accept
      socket, = @socket.accept_nonblock(exception: false)
      return unless socket.is_a?(Socket)

      client = Connection.new(socket, @loop) { |ended| forget(ended) }
      @clients << client
      @loop.watch(client) { client.read { |line| execute(client, line) } }
      stop_accepting if @clients.size >= MOST_CLIENTS
    rescue SystemCallError, IOError => e
      PushServer.log(:warn, "cannot accept a command at the control socket: #{e.message}")
      stop_accepting
      @retry = @loop.after(RETRY_DELAY) { accept_clients }
    end

    def forget(client)
      @loop.forget(client)
      @clients.delete(client)
      accept_clients unless @retry
    end

    def execute(client, line)
      reply = Reply.new(client)
      request = JSON.parse(line)
      command = request["command"] if request.is_a?(Hash)
      method, field = COMMANDS[command]
      return reply.fail("there is no command #{command.to_s[0, 60].inspect}") unless method

      client.answer(accepted: true)
      @target.public_send(method, reply, *(field && request[field]))
    rescue JSON::ParserError
      reply.fail("the command is not JSON")
    rescue Error => e
      reply.fail(e.message)
    rescue StandardError => e
      PushServer.log_exception("the command #{command}", e)
      reply.fail("#{e.class}: #{e.message}")
    end
  end
end
