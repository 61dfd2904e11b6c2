# frozen_string_literal: true

module PushServer
  # `rack.input` of a body too long for memory: an unlinked temporary file, which is gone once it is closed or collected.
  class SpooledInput < IO
    # @api private
    # @param descriptor [Integer] of a file at its start; closed with the input
    # @param size [Integer] bytes
    def self.for(descriptor, size)
      input = for_fd(descriptor, "r+b")
      input.instance_variable_set(:@size, size)
      input
    end

    # @return [Integer] length of the body in bytes
    attr_reader :size
  end
end
