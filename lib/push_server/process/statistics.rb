# frozen_string_literal: true

require_relative "service"

module PushServer
  # What all processes of a server have counted, as one of them sees it. Any thread.
  # @api private
  module Statistics
    class << self
      # Reads a memory file of the supervisor from now on.
      # @param file [IO, nil] is closed; nil if there is none
      # @param process [Integer, nil] the number of a worker, whose server counts in its slot of the file. To be called before the
      #   server is made
      def use(file, process: nil)
        @slots = nil # that of the leader
        @slots = file && NativeSlots.open(file.fileno)
        return unless process
        return if @slots&.enter(process)

        warn_of("the supervisor has no place for it")
      rescue IOError => e
        warn_of("#{e.message}. Use push_server restart") if process
      ensure
        file&.close
      end

      # See {PushServer.stats}.
      # @return [Hash{Symbol => Object}]
      def all
        service = Service.latest
        return service ? service.totals : { stats: {}, histograms: {}, workers: [] } unless @slots

        service&.stats # stores what is counted elsewhere
        @slots.totals
      end

      private

      def warn_of(reason)
        PushServer.log(:warn, "`push_server stats` does not know what this worker counts: #{reason}")
      end
    end
  end
end
