# frozen_string_literal: true

require_relative "../errors"
require_relative "../rack/error_report"

module PushServer
  # Why a process cannot serve, as people and the supervisor get to know it. Any thread.
  class FailureReport
    # @param error [Error]
    # @param verbose [Boolean] whether the whole backtrace is wanted
    def initialize(error, verbose: false)
      @error = error
      @verbose = verbose
    end

    # @return [String] one line
    def message
      # It may have the bytes of a path, which need not be UTF-8.
      @error.message.scrub.split("\n").map(&:strip).join(" ")
    end

    # @return [Array<String>, nil] the app's own lines of the backtrace, or all lines
    def details
      return [ErrorReport.new(@error.cause || @error).full] if @verbose

      ErrorReport.new(@error.cause).brief if @error.is_a?(ConfigError) && @error.cause
    end

    # For the supervisor. `load`: whether each worker would fail in the same way. `usage`: whether an option is wrong.
    # @return [Hash{Symbol => Object}]
    def fields
      usage = @error.is_a?(OptionError)
      { message: message, details: details&.map(&:scrub), load: usage || @error.is_a?(ConfigError), usage: usage }
    end
  end
end
