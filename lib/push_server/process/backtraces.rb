# frozen_string_literal: true

module PushServer
  # Where the threads of this process are.
  module Backtraces
    # Logs the backtrace of each thread, one message a thread. Any thread.
    def self.log
      Thread.list.each do |thread|
        name = [("main" if thread == Thread.main), thread.name].compact.first || "a thread of the app"
        PushServer.log(:info, ["#{name} (#{thread.status || "ended"})", *thread.backtrace].join("\n    "))
      end
    end
  end
end
