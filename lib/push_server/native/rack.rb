# frozen_string_literal: true

# Documentation of native methods: see client.rb.
module PushServer
  # @api private
  module Callbacks
    # @!method self.around=(callable)
    #   Sets the callable that is called in place of each callback, with client, name, handler and arguments.
  end

  # The stream that is given to a Rack 3 body that responds to `call`. The body may use it in any thread.
  class BodyStream
    # @!method read(length = nil, buffer = nil)
    #   Reads the request's body, as `rack.input` does.
    #   @raise [IOError] after {#close_read}

    # @!method write(*parts)
    #   Sends parts of the response. Waits while the client does not read fast enough.
    #   @return [Integer] bytes
    #   @raise [IOError] after {#close_write}
    #   @raise [Disconnected] when the client has disconnected

    # @!method <<(part)
    #   Sends a part, as {#write} does.
    #   @return [self]

    # @!method flush
    #   Does nothing: every part is sent as soon as it is written.
    #   @return [self]

    # @!method close(error = nil)
    #   Closes both sides.

    # @!method close_read
    #   Closes the request's side.

    # @!method close_write
    #   Ends the response.

    # @!method closed?
    #   @return [Boolean] whether both sides are closed
  end

  # The response of one request, in its env: `rack.hijack` and `rack.early_hints`.
  class Answer
    # @!method call(headers = nil)
    #   Without an argument, takes the connection over (`rack.hijack`). With one, sends an informational response 103
    #   (`rack.early_hints`, RFC 8297).
    #   @return [IO, nil] the socket; nil for early hints
    #   @raise [IOError] if the request is answered already
  end

  # A request body's part of `max_spooled_total`.
  # @api private
  class SpoolReservation
    # @!method release
    #   Gives the bytes back.

    # @!method share
    #   For another descriptor of the same file: the bytes count until both are released.
    #   @return [SpoolReservation]
  end
end
