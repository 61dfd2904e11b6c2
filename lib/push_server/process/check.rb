# frozen_string_literal: true

require_relative "../errors"
require_relative "inheritance"
require_relative "link"
require_relative "notifier"
require_relative "original_command"

module PushServer
  # A child of the version that is current now, which loads the configuration and the app, and opens the sockets that this
  # process does not have: so that a restart which cannot succeed changes nothing. The child is a {CheckAnswer}.
  #
  # Its owner calls {#result} when {#to_io} can be read, and when its time is over. One thread.
  class Check
    # error: why the new version cannot serve, in one line; nil if it can. sockets: those that the child has opened, an
    # {Inheritance}. version: of push_server in the child. facts: what else the child has told, by name.
    Result = Struct.new(:error, :sockets, :version, :facts, keyword_init: true) do
      # Whether the new version can serve.
      def ok? = error.nil?
    end

    # Seconds that a child has to end after its last message.
    END_PATIENCE = 2
    private_constant :END_PATIENCE

    # @return [Integer] the child's pid. This class waits for it
    attr_reader :pid

    # Starts the child.
    # @param places [Array<String>] the sockets that this process has; see {Inheritance#places}
    # @param seconds [Numeric, nil] how long it may take; nil: for ever
    # @param command [OriginalCommand]
    # @raise [Error] if it cannot be started
    def initialize(places, seconds: nil, command: OriginalCommand.current)
      @seconds = seconds
      @deadline = seconds && (now + seconds)
      @sockets = Inheritance.new
      @link, child = Link.pair
      @pid = command.spawn("check", child, in: File::NULL)
      @ended = Process.detach(@pid)
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

    # @return [Result, nil] nil: not yet
    def result
      return @result if @result

      message = @link.receive(0)
      return (finish("it has not loaded within #{@seconds} s") if delay&.zero?) unless message

      case message == :eof ? nil : message.kind
      when "socket" then keep(message) && result
      when "ready" then finish(nil, message[:version], message.fields)
      when "failed" then finish(message[:message])
      when nil then finish("the process ended #{ending} before it could serve")
      else result
      end
    rescue IOError, KeyError => e
      finish("its answer cannot be read: #{e.message}")
    end

    # Ends the child, if it still runs, and closes what it has opened.
    def abort = finish("it was given up").sockets.release

    private

    def keep(message)
      listeners = message.ios.zip(message[:listeners]).map do |io, description|
        socket = Socket.for_fd(io.fileno)
        io.autoclose = false
        Listener.described(socket, description)
      end
      @sockets.add(message[:place], listeners)
    end

    def finish(error, version = nil, facts = {})
      @sockets.release if error
      @link.close
      end_child
      @result = Result.new(error: error, sockets: @sockets, version: version, facts: facts)
    end

    def end_child
      return if @ended.join(error_pending? ? 0 : END_PATIENCE)

      Process.kill(:KILL, @pid)
    rescue Errno::ESRCH
      nil
    end

    def error_pending? = @deadline && delay.zero?

    def ending
      status = @ended.join(END_PATIENCE)&.value
      if status.nil? then "without a word"
      elsif status.signaled? then "by the signal #{Signal.signame(status.termsig)}"
      else "with status #{status.exitstatus}"
      end
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
