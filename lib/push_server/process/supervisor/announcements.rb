# frozen_string_literal: true

require_relative "../../plural"

module PushServer
  class Supervisor
    # The lines on stdout that tell people what happens. They are not for logs; --quiet silences them. One thread.
    class Announcements
      # @param out [IO]
      # @param parts [Parts]
      def initialize(out, parts)
        @out = out
        @parts = parts
      end

      # The first worker serves.
      def serving
        say "push_server #{VERSION} (ruby #{RUBY_VERSION})"
        say "* #{Plural.of(options[:workers], "worker")} with #{Plural.of(options[:threads], "thread")} each, " \
            "#{options[:environment]}"
        listening(@parts.binder.urls)
        @parts.metrics.urls.each { |url| say "* Metrics on #{url}" }
        say "Ctrl-C to stop"
      end

      # All workers serve.
      # @param workers [Integer]
      def complete(workers)
        say "* All #{workers} workers serve" if workers > 1
      end

      # This program has taken the place of another one.
      # @param unserved [Array<String>] where no worker accepts yet
      def executed(unserved)
        say "* Executed push_server #{VERSION} (ruby #{RUBY_VERSION})"
        listening(@parts.binder.urls - unserved)
      end

      # @param urls [Array<String>] where workers accept from now on
      def listening(urls) = urls.each { |url| say "* Listening on #{url}" }

      # The server does not listen there any more.
      # @param urls [Array<String>]
      def retired(urls) = urls.each { |url| say "* No longer listening on #{url}" }

      # The server begins to stop.
      def stopping = say("* Stopping: up to #{options[:drain_timeout]} s for what is open. Ctrl-C to stop at once")

      # The server has stopped.
      # @param forced [Boolean] whether it has not waited for what was open
      def stopped(forced) = say(forced ? "* Stopped at once" : "* Stopped")

      private

      def options = @parts.options

      def say(line)
        PushServer.tell(@out, "#{line}\n") if %i[debug info].include?(options[:log_level])
      end
    end
  end
end
