# frozen_string_literal: true

require_relative "../errors"
require_relative "../version"

module PushServer
  # What the supervisor and its children say to each other. After a restart they may have different versions of push_server.
  module Protocol
    # Of the messages between them. It rises with each change that an older version would not understand.
    NUMBER = 2

    # The fields of a supervisor's first message that {.check} needs.
    # @return [Hash{Symbol => Object}]
    def self.fields = { protocol: NUMBER, version: VERSION }

    # @param message [Link::Message] the supervisor's first one
    # @raise [Error] if this process does not understand its supervisor
    def self.check(message)
      return if message[:protocol] == NUMBER

      raise Error, "push_server #{VERSION} cannot run under a supervisor of push_server #{message[:version]}. Replace the " \
                   "supervisor, too: use push_server restart"
    end
  end
end
