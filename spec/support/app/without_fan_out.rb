# frozen_string_literal: true

# An app that requires this has a server that wakes each stream to send: src/push/fan_out.rs is switched off. No option of users
# can do that.
PushServer::Options.prepend(
  Module.new do
    def settings(**) = super.merge(fan_out: false)
  end
)
