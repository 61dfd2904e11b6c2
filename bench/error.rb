# frozen_string_literal: true

module Bench
  # An error that the user can fix. Only its message is printed.
  class Error < StandardError; end

  # The server cannot do what a scenario asks for.
  class Unsupported < Error; end
end
