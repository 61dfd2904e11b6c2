# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"

module PushServer
  # Notices that the files of certificates have changed, and reads them again. A certificate that cannot be used is refused, and
  # the one before stays. Warns of certificates that have expired, or will soon. One thread.
  class CertificateWatch
    # Seconds between two looks.
    INTERVAL = 1

    # @param binder [Binder] whose listeners it watches
    # @yieldparam listeners [Array<Listener>] whose certificates have changed. The log says so when the block has returned
    def initialize(binder, &on_change)
      @binder = binder
      @on_change = on_change
    end

    # Looks at the dates of the certificates, and begins to look at all from time to time. Idempotent.
    # @param loop [EventLoop]
    def start(loop)
      @timer ||= loop.every(INTERVAL) { look }
      warn_of_dates
    end

    # Reads those files again that have changed.
    def look = renew(&:renew)

    # Reads all files again.
    def reload
      renew do |certificates|
        certificates.renew!
        true
      end
    end

    private

    def renew
      listeners = by_certificates
      changed = listeners.select do |certificates, (first)|
        yield certificates
      rescue Error => e
        PushServer.log(:error, "#{first.url} goes on with the certificates that it has: #{e.message}")
        false
      end
      hand_on(changed.values.flatten) if changed.any?
      warn_of_dates
    end

    def hand_on(listeners)
      @on_change.call(listeners)
      PushServer.log(:info, "new certificates for #{listeners.map(&:url).uniq.join(", ")}")
    end

    # Endpoints may have the same files.
    def warn_of_dates = by_certificates.keys.flat_map(&:warnings).uniq.each { |line| PushServer.log(:warn, line) }

    # A host may have several addresses.
    def by_certificates = @binder.listeners.select(&:certificates).group_by(&:certificates)
  end
end
