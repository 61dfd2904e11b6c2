# frozen_string_literal: true

module PushServer
  # How a process has ended, for the log. Any thread.
  module ExitStatus
    # @param status [Process::Status, #exitstatus, nil] nil: unknown
    # @return [String] such as "with status 1"
    def self.describe(status)
      return "for an unknown reason" unless status
      return "with status #{status.exitstatus}" unless status.signaled?

      "by the signal #{Signal.signame(status.termsig)}#{" (core dumped)" if status.coredump?}"
    end
  end
end
