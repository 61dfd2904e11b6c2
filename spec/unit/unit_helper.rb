# frozen_string_literal: true

require "push_server"
require_relative "fake_native_server"
require_relative "../support/eventually"

# Puts the fake in place of the native server, for one example.
module FakeNativeServers
  def use_fake_native_server
    allow(PushServer.const_get(:NativeServer)).to receive(:new) { |*arguments| FakeNativeServer.new(*arguments) }
  end
end

# Unit specs start no server, so they do not need the helpers that the other specs use.
RSpec.configure do |config|
  config.include Eventually, :unit
  config.include FakeNativeServers, :unit
  config.define_derived_metadata(file_path: %r{/spec/unit/}) { |metadata| metadata[:unit] = true }
end
