# frozen_string_literal: true

require_relative "signals"

module PushServer
  # Forks processes of the server. While the system refuses, Ruby's own fork sleeps and tries again for ever; a supervisor must
  # not wait for that.
  module Forking
    # As Process.fork with a block.
    # @return [Integer] pid
    # @raise [SystemCallError] if the system gives no process
    def self.fork(&block)
      error = NativeProcess.fork_error
      raise SystemCallError.new("fork(2)", error) if error

      Signals.inert_in_forks { Process.fork(&block) }
    end
  end
end
