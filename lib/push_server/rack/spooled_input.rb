# frozen_string_literal: true

module PushServer
  # `rack.input` of a body that is too long for memory: an unlinked temporary file, which disappears when it is closed or
  # collected. Until then its bytes count towards `max_spooled_total`.
  class SpooledInput < IO
    # @return [Integer] length of the body in bytes
    attr_reader :size

    # Sets the length and the reservation of the file. Called right after the object was made.
    # @api private
    # @param size [Integer] bytes
    # @param reservation [#release, #share] the file's part of max_spooled_total
    # @return [void]
    def hold(size, reservation)
      @size = size
      @reservation = reservation
    end

    # Closes the file and gives its space back.
    # @return [nil]
    def close
      super
    ensure
      @reservation.release if closed?
    end

    private

    # A copy has its own descriptor: the file exists until both are closed.
    def initialize_copy(original)
      super
      @reservation = @reservation.share
    end
  end
end
