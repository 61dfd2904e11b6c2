# frozen_string_literal: true

# The log, on stderr: a line for each message, in the same form from Ruby and from the core.
module PushServer
  LOG_LEVELS = %i[debug info warn error].freeze
  # How many lines of a long backtrace are logged: from its beginning, and from its end.
  BACKTRACE = [70, 30].freeze
  private_constant :LOG_LEVELS, :BACKTRACE

  @log_level = :info

  class << self
    # @return [Symbol] the lowest level that is logged: :debug, :info, :warn or :error. Any thread.
    attr_reader :log_level

    # Which process of a server writes, such as "worker 1"; it is at the beginning of each message. nil: there is one process.
    # @api private
    # @return [String, nil]
    attr_reader :log_name

    # Sets {log_name}, for Ruby and for the core.
    # @api private
    def log_name=(name)
      NativeProcess.log_name = name
      @log_name = name
    end

    # Sets {log_level}, for Ruby and for the core. Any thread.
    # @param level [Symbol, String]
    # @raise [ArgumentError] if there is no such level
    def log_level=(level)
      NativeServer.log_level = level.to_s
      @log_level = level.to_sym
    end

    # Logs a line, if its level is not below {log_level}. Any thread; never raises.
    # @param level [Symbol]
    # @param message [String]
    def log(level, message)
      return if LOG_LEVELS.index(level) < LOG_LEVELS.index(@log_level)

      tell($stderr, "[push_server] #{level}: #{"[#{@log_name}] " if @log_name}#{message.chomp}\n")
    end

    # Writes lines for people. A server must go on if no process reads them: stdout and stderr lose them then, and say later how
    # many are missing. Any thread; never raises.
    # @api private
    # @param out [IO]
    # @param lines [String] with their ends; one write, so that lines of several threads do not mix
    def tell(out, lines)
      case out.is_a?(IO) && out.fileno
      when 1
        out.flush # A program may have buffered lines of its own.
        NativeProcess.write_stdout(lines)
      when 2 then NativeProcess.write_stderr(lines)
      else
        out.write(lines)
        out.flush if out.respond_to?(:flush)
      end
    rescue IOError, SystemCallError
      nil # it is closed
    end

    # Logs an exception that was not rescued: its class, message and backtrace, and those of its causes. Any thread;
    # never raises.
    # @param place [String] where it was raised: a request line, or the name of a callback
    # @param exception [Exception]
    def log_exception(place, exception)
      lines = ["#{place}: #{describe(exception)}", *abridged(exception.backtrace)]
      while (exception = exception.cause)
        lines.push("caused by #{describe(exception)}", *abridged(exception.backtrace))
      end
      log(:error, lines.join("\n    "))
    rescue Exception => e # rubocop:disable Lint/RescueException -- an exception whose own methods raise
      log(:error, "#{place}: #{exception.class} (its methods raise #{e.class})")
    end

    # Calls the block. If it raises, that is logged, and the caller goes on. Any thread.
    # @api private
    def attempt
      yield
    rescue StandardError => e
      log_exception("going on after an error", e)
    end

    private

    def describe(exception)
      message = begin
        exception.message
      rescue Exception => e # rubocop:disable Lint/RescueException -- a message method that raises
        "(its message raises #{e.class})"
      end
      "#{exception.class}: #{message}"
    end

    # An endless recursion has ten thousand lines; the first and the last ones suffice.
    def abridged(backtrace)
      return backtrace if backtrace.nil? || backtrace.size <= BACKTRACE.sum

      [*backtrace.first(BACKTRACE.first), "… #{backtrace.size - BACKTRACE.sum} more lines …", *backtrace.last(BACKTRACE.last)]
    end
  end
end
