# frozen_string_literal: true

module PushServer
  class Supervisor
    # Why the app could not be loaded.
    #
    # @!attribute message
    #   @return [String] one line
    # @!attribute details
    #   @return [Array<String>, nil] the app's lines of the backtrace
    # @!attribute usage
    #   @return [Boolean, nil] whether an option is wrong
    Failure = Struct.new(:message, :details, :usage)
  end
end
