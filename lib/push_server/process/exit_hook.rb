# frozen_string_literal: true

require_relative "self_pipe"
require_relative "signals"

module PushServer
  # How a Ruby program with an embedded server ends. Until the server has stopped, this class answers INT, TERM and QUIT,
  # unless the program has its own handler for them. The first signal drains the server and then raises SystemExit in the
  # main thread. A program that loops for ever and rescues every Exception may swallow that, so it is raised again. The
  # second signal ends the program at once. HUP opens the log file anew, if there is one. A program that ends by itself
  # drains the server, too.
  class ExitHook
    # Seconds between two attempts to make the main thread exit.
    RETRY_INTERVAL = 0.5
    # Seconds that the main thread has to exit after the second signal, before the process is ended without it.
    EXIT_TIMEOUT = 2
    private_constant :RETRY_INTERVAL, :EXIT_TIMEOUT

    # @param server [Single]
    # @param waiting [Thread, nil] the thread that waits for the server, which sees by itself that the server has stopped
    def initialize(server, waiting: nil)
      @server = server
      @waiting = waiting
      @events = SelfPipe.new
      # Empty once there is nothing to do at the exit: a server that has stopped can be collected then.
      @at_exit = [self]
      @signals = Signals.new(only_defaults: true) do
        @server.signal
        @events.notify("!")
      end
      # Without a log file, the program decides what HUP means.
      @reopening = Signals.new(Signals::REOPEN, only_defaults: true) { @server.reopen_logs } if server.options.log_file?
    end

    # Drains the servers of these hooks when the process ends. Ruby keeps the block for ever, and with it all that is in
    # its scope.
    def self.drain_at_exit(hooks)
      pid = Process.pid
      at_exit { hooks.each(&:drain) if Process.pid == pid }
    end

    # To be called when the server has started.
    def install
      ExitHook.drain_at_exit(@at_exit)
      Thread.new { follow }.name = "push_server exit hook"
    end

    # Gives the signals back.
    def remove
      @signals.restore
      @reopening&.restore
      @events.close
      @at_exit.clear if @server.ending == :graceful && !@server.stuck?
    end

    # Stops the server gracefully, if it has not stopped, before the process ends.
    def drain
      @server.stop
      @server.wait
      @server.exit_unless_graceful
    end

    private

    def follow
      @server.wait
      end_program if @server.signalled? && @waiting != Thread.main
    ensure
      remove
    end

    def end_program
      @events.wait(0) # the signal that stopped the server
      @forced_at = now if @server.ending == :forced
      while main_running?
        Thread.main.raise(SystemExit.new(@forced_at ? 1 : 0, "exit")) if @forced_at || !cleaning_up?
        @forced_at ||= now if @events.wait(@forced_at ? RETRY_INTERVAL / 2 : RETRY_INTERVAL)
        exit!(1) if @forced_at && now - @forced_at > EXIT_TIMEOUT
      end
    end

    # Whether the program is still in its main part, and not in an at_exit block, whose frame would be the outermost.
    def main_running? = Thread.main.backtrace_locations&.last&.label == "<main>"

    # Whether the main thread is exiting already: an ensure clause that an exception runs has a frame of its own.
    def cleaning_up? = Thread.main.backtrace_locations&.any? { |frame| frame.label.start_with?("ensure in") }

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
