# frozen_string_literal: true

module Bench
  # What the user can mend; the message is all that is printed.
  class Error < StandardError; end

  # The server cannot do what a scenario asks for.
  class Unsupported < Error; end
end
