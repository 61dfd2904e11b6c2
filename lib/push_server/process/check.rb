# frozen_string_literal: true

require_relative "../errors"
require_relative "exit_status"
require_relative "inheritance"
require_relative "link"
require_relative "notifier"
require_relative "original_command"

module PushServer
  # A child of the version that is current now, which loads the configuration and the app, and opens the sockets that this
  # process does not have: so that a restart which cannot succeed changes nothing. The child is a {CheckAnswer}.
  #
  # Its owner calls {#result} when {#to_io} can be read, when its time is over, and, once it is {#disconnected?}, again and again.
  # No method waits. One thread.
  class Check
    # error: why the new version cannot serve, in one line; nil if it can. sockets: those that the child has opened, an
    # {Inheritance}. version: of push_server in the child. facts: what else the child has told, by name.
    Result = Struct.new(:error, :sockets, :version, :facts, keyword_init: true) do
      # Whether the new version can serve.
      def ok? = error.nil?
    end

    # Seconds that a child has to end after its last message, or after the end of its link.
    END_PATIENCE = 2

    # @return [Integer] the child's pid
    attr_reader :pid

    # Starts the child.
    # @param places [Array<String>] the sockets that this process has; see {Inheritance#places}
    # @param seconds [Numeric, nil] how long it may take; nil: for ever
    # @param reaper [#expect, nil] what takes the status of each child of this process; nil: this class takes that of its child
    # @param command [OriginalCommand]
    # @raise [Error] if it cannot be started
    def initialize(places, seconds: nil, reaper: nil, command: OriginalCommand.current)
      @seconds = seconds
      @deadline = seconds && (now + seconds)
      @sockets = Inheritance.new
      @link, child = Link.pair
      @pid = command.spawn("check", child, in: File::NULL)
      reaper ? reaper.expect(@pid) { |status| ended(status) } : @waiter = Process.detach(@pid)
      @link.send(:check, places: places)
    rescue Error, SystemCallError, ThreadError => e
      @link&.close
      raise e.is_a?(Error) ? e : Error.new("cannot start a process: #{e.message}")
    ensure
      child&.close
    end

    # @return [IO]
    def to_io = @link.to_io

    # @return [Numeric, nil] seconds until {#result} is to be called in any case
    def delay = @deadline && [@deadline - now, 0].max

    # Whether the child has closed its link without an answer, so that {#to_io} tells nothing more. The result follows as soon
    # as the system tells how the child has ended.
    def disconnected? = !@disconnected_at.nil?

    # @return [Result, nil] nil: not yet
    def result
      return @result if @result

      message = disconnected? ? :eof : @link.receive(0)
      return (give_up("it has not loaded within #{@seconds} s") if delay&.zero?) unless message

      case message == :eof ? nil : message.kind
      when "socket" then keep(message) && result
      when "ready" then finish(nil, message[:version], message.fields)
      when "failed" then finish(message[:message])
      when nil then lose
      else result
      end
    rescue IOError, KeyError => e
      give_up("its answer cannot be read: #{e.message}")
    end

    # Kills the child, if it still runs, and closes what it has opened.
    def abort = give_up("it was given up").sockets.release

    # Kills the child, if it still runs.
    def kill
      update
      Process.kill(:KILL, @pid) unless @ended
    rescue Errno::ESRCH
      nil
    end

    private

    def keep(message)
      listeners = message.ios.zip(message[:listeners]).map do |io, description|
        socket = Socket.for_fd(io.fileno)
        io.autoclose = false
        Listener.described(socket, description)
      end
      @sockets.add(message[:place], listeners)
    end

    def give_up(error)
      kill
      finish(error)
    end

    def finish(error, version = nil, facts = {})
      @sockets.release if error
      @link.close
      @result = Result.new(error: error, sockets: @sockets, version: version, facts: facts)
    end

    # The child has closed its link.
    def lose
      @disconnected_at ||= now
      update
      return finish("the process ended #{ExitStatus.describe(@status)} before it could serve") if @ended

      give_up("the process has closed its connection to this one") if now - @disconnected_at > END_PATIENCE
    end

    def update
      ended(@waiter.value) if @waiter && !@waiter.alive?
    end

    # @param status [Process::Status, nil] nil if the app has taken it
    def ended(status)
      @ended = true
      @status = status
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
