# frozen_string_literal: true

require_relative "self_pipe"
require_relative "signals"

module PushServer
  # How a Ruby program with an embedded server ends. Until the server has stopped, INT, TERM and QUIT are answered here,
  # unless the program takes them itself: the server is drained first, and then the main thread is made to exit, which a program
  # that loops for ever and rescues every Exception may not notice the first time. The second signal ends it at once.
  # HUP opens the log file anew, if there is one. A program that ends by itself drains the server too.
  class ExitHook
    # Between two attempts to make the main thread exit.
    INTERVAL = 0.5
    # What it may take to exit after the second signal, before it is left no choice.
    LAST_WORDS = 2
    private_constant :INTERVAL, :LAST_WORDS

    # @param launcher [Launcher]
    # @param waiting [Thread, nil] the thread that waits for the server and needs no telling that it has stopped
    def initialize(launcher, waiting: nil)
      @launcher = launcher
      @waiting = waiting
      @notes = SelfPipe.new
      @signals = Signals.new(only_defaults: true) do
        @launcher.signal
        @notes.notify("!")
      end
      # Without a log file, what HUP means is the program's own business.
      @reopening = Signals.new(Signals::REOPEN, only_defaults: true) { @launcher.reopen_logs } if launcher.options.log_file?
    end

    # To be called when the launcher has started.
    def watch
      pid = Process.pid
      at_exit { drain if Process.pid == pid }
      Thread.new { follow }.name = "push_server departure"
    end

    # Gives the signals back.
    def cancel
      @signals.restore
      @reopening&.restore
      @notes.close
    end

    private

    def follow
      @launcher.wait
      end_program if @launcher.signalled? && @waiting != Thread.main
    ensure
      cancel
    end

    def end_program
      @notes.wait(0) # what led here
      @hurry = now if @launcher.ending == :forced
      while main_running?
        Thread.main.raise(SystemExit.new(@hurry ? 1 : 0, "exit")) if @hurry || !cleaning_up?
        @hurry ||= now if @notes.wait(@hurry ? INTERVAL / 2 : INTERVAL)
        exit!(1) if @hurry && now - @hurry > LAST_WORDS
      end
    end

    def drain
      @launcher.stop
      @launcher.wait
      @launcher.exit_unless_graceful
    end

    # Whether the program is still in its main part, and not in an at_exit block (this would be the outermost frame).
    def main_running? = Thread.main.backtrace_locations&.last&.label == "<main>"

    # An ensure clause run by an exception has a frame of its own: the main thread is on its way out already.
    def cleaning_up? = Thread.main.backtrace_locations&.any? { |frame| frame.label.start_with?("ensure in") }

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
