# frozen_string_literal: true

require_relative "../log"
require_relative "../rack/error_report"

module PushServer
  # What all Ruby threads of this process are doing, for the log.
  module Backtraces
    # How many lines of a thread to show: from the beginning of its backtrace, and from its end.
    SHOWN = [60, 20].freeze
    private_constant :SHOWN

    class << self
      # Logs the backtraces of all threads, whatever the log level is. A star marks the lines that are the app's own. Threads
      # that do the same are shown together. Any thread, but no signal handler.
      # @return [Integer] how many threads there are
      def log
        threads = Thread.list
        level = PushServer.log_level == :debug ? :info : PushServer.log_level
        lines = threads.group_by { |thread| frames(thread) }.flat_map do |frames, all|
          [all.map { |thread| title(thread) }.join(", "), *frames]
        end
        PushServer.log(level, ["backtraces of #{threads.size} threads of process #{Process.pid}", *lines].join("\n    "))
        threads.size
      end

      private

      def title(thread)
        name = thread == Thread.main ? "main" : thread.name || "without a name"
        "thread #{name.inspect} (#{thread.status || "ended"})"
      end

      # nil: it has ended meanwhile.
      def frames(thread) = abridged((thread.backtrace || []).map { |line| frame(line.scrub) })

      def frame(line) = "#{ErrorReport.own?(line) ? "*" : " "} #{ErrorReport.shorten(line)}"

      def abridged(frames)
        return frames if frames.size <= SHOWN.sum

        [*frames.first(SHOWN.first), "  … #{frames.size - SHOWN.sum} more lines …", *frames.last(SHOWN.last)]
      end
    end
  end
end
