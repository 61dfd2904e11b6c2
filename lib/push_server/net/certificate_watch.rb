# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"

module PushServer
  # Notices that the files of certificates have changed, and reads them again. A certificate that cannot be used is refused, and
  # the one before stays. One thread.
  class CertificateWatch
    # Seconds between two looks.
    INTERVAL = 1

    # @param binder [Binder] whose listeners it watches
    # @yieldparam listeners [Array<Listener>] whose certificates have changed
    def initialize(binder, &on_change)
      @binder = binder
      @on_change = on_change
    end

    # Begins to look from time to time. Idempotent.
    # @param loop [EventLoop]
    def start(loop) = @timer ||= loop.every(INTERVAL) { look }

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
      listeners = @binder.listeners.select(&:certificates).group_by(&:certificates)
      changed = listeners.select do |certificates, (first)|
        yield certificates
      rescue Error => e
        PushServer.log(:error, "#{first.url} goes on with the certificates that it has: #{e.message}")
        false
      end
      @on_change.call(changed.values.flatten) if changed.any?
    end
  end
end
