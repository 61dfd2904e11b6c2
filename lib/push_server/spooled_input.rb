# frozen_string_literal: true

module PushServer
  # `rack.input` of a body too long for memory: an unlinked temporary file, which is gone once it is closed or collected.
  # Until then its bytes count towards `max_spooled_total`.
  class SpooledInput < IO
    # @api private
    # @param descriptor [Integer] of a file at its start; closed with the input
    # @param size [Integer] bytes
    # @param reservation [#release, #share] the file's part of max_spooled_total
    def self.for(descriptor, size, reservation)
      input = for_fd(descriptor, "r+b")
      input.instance_variable_set(:@size, size)
      input.instance_variable_set(:@reservation, reservation)
      input
    end

    # @return [Integer] length of the body in bytes
    attr_reader :size

    # Closes the file and gives its space back.
    # @return [nil]
    def close
      super
    ensure
      @reservation.release if closed?
    end

    private

    # A copy has a descriptor of its own: the file is there until both are closed.
    def initialize_copy(original)
      super
      @reservation = @reservation.share
    end
  end
end
