# frozen_string_literal: true

require_relative "../../net/certificate_watch"
require_relative "../../net/ticket_keys"

module PushServer
  class Supervisor
    # What workers need for TLS: the certificates, which this process reads, and the keys of session tickets. Certificates travel
    # in a file in memory, because a message is too short for some of them. One thread.
    class Encryption
      # @param parts [Parts]
      # @param former [Integer, nil] the descriptor of the ticket keys that were handed over; see {#handover}
      # @yieldreturn [Array<WorkerProcess>] all workers
      def initialize(parts, former = nil, &workers)
        @parts = parts
        @workers = workers
        @keys = TicketKeys.new(former) if used? || former
        @watch = CertificateWatch.new(parts.binder) { send_certificates }
        return unless used?

        @watch.start(parts.events)
        @keys.start(parts.events)
      end

      # Whether a listener encrypts its connections.
      def used? = listeners.any?

      # What another supervisor needs to go on after an exec; see {State}.
      # @return [IO, nil]
      def handover = @keys&.handover

      # What a worker's first message has for it. The caller closes the first one.
      # @return [Array<IO>] the certificates and the keys; empty if none are used
      def files = used? ? [certificates, @keys.file] : []

      # Reads all certificates again, and gives them to the workers.
      def reload = @watch.reload

      private

      def listeners = @parts.binder.listeners.select(&:tls)

      # @return [File] what {Worker} reads
      def certificates
        text = Marshal.dump(listeners.to_h { |listener| [listener.url, listener.tls] })
        file = File.for_fd(NativeProcess.memory_file("push_server_certificates", text.bytesize), "r+b")
        file.pwrite(text, 0)
        file
      end

      def send_certificates
        file = certificates
        @workers.call.each { |worker| worker.send(:certificates, fds: [file]) }
      ensure
        file&.close
      end
    end
  end
end
