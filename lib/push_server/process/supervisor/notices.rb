# frozen_string_literal: true

module PushServer
  class Supervisor
    # Says once what the app uses that works for each worker by itself, and not yet for all of them together. One thread.
    class Notices
      TEXTS = {
      }.freeze
      private_constant :TEXTS

      # @param workers [Workers]
      def initialize(workers)
        @workers = workers
        @said = []
      end

      # @param names [Array<String, Symbol>, nil] what a process has found in use
      def note(names)
        return if names.nil? || @workers.size < 2

        (names.map(&:to_sym) - @said).each do |name|
          @said << name
          PushServer.log(:warn, TEXTS.fetch(name)) if TEXTS.key?(name)
        end
      end
    end
  end
end
