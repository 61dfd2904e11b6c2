# frozen_string_literal: true

module PushServer
  # The end of a response, in Ruby: when a thread is killed, or something is thrown past the app, only `ensure` is left,
  # and native code must not call Ruby any more.
  # @api private
  module Bodies
    class << self
      # Calls `target.each(&block)`, or `target.call(argument)`: a body, or what takes its place. What that raises is the
      # caller's business; but if it does not even raise, the response is ended here.
      def run(target, method, argument, block, *response)
        unwinding = true
        block ? target.public_send(method, &block) : target.public_send(method, argument)
        unwinding = false
      rescue Exception # rubocop:disable Lint/RescueException -- told apart from unwinding, and raised again
        unwinding = false
        argument.close if argument.is_a?(IO)
        raise
      ensure
        if unwinding
          argument.close if argument.is_a?(IO)
          finish(*response, nil)
        end
      end

      # Closes the body and calls what waits for the end of the response, the last first (Rack 3 SPEC).
      # @param line [String] the request line, for the log
      def finish(body, line, env, status, headers, error)
        body.close if body.respond_to?(:close)
      ensure
        callables = env["rack.response_finished"]
        callables.reverse_each { |callable| finished(callable, line, env, status, headers, error) } if callables.is_a?(Array)
      end

      private

      def finished(callable, line, *arguments)
        callable.call(*arguments)
      rescue Exception => e # rubocop:disable Lint/RescueException -- one must not keep the others from being called
        PushServer.log_exception("rack.response_finished of #{line}", e)
      end
    end
  end
end
