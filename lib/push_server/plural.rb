# frozen_string_literal: true

module PushServer
  # Numbers with nouns, in lines for people. Any thread.
  module Plural
    # @param count [Integer]
    # @param noun [String] whose plural has an s
    # @return [String] such as "1 worker" and "2 workers"
    def self.of(count, noun) = "#{count} #{noun}#{"s" unless count == 1}"
  end
end
