# frozen_string_literal: true

module PushServer
  # The end of a response, in Ruby. When a thread is killed, or the app throws a symbol past the server, only `ensure`
  # clauses run, and native code must not call Ruby any more.
  # @api private
  module Bodies
    class << self
      # Calls `target.each(&block)`, or `target.call(argument)`: of a body, or of what takes its place. The caller handles
      # an exception. If the call ends without an exception and without returning, the response is ended here.
      def run(target, method, argument, block, *response)
        unwinding = true
        block ? target.public_send(method, &block) : target.public_send(method, argument)
        unwinding = false
      rescue Exception # rubocop:disable Lint/RescueException -- to know that this is not an unwinding without an exception; raised again
        argument.close if argument.is_a?(IO)
        # This comes last, because the thread may be killed above, too.
        unwinding = false
        raise
      ensure
        if unwinding
          argument.close if argument.is_a?(IO)
          finish(*response, nil)
        end
      end

      # Logs an exception of the app or its body, and ends the response, even if the thread is killed meanwhile.
      # @param exception [Exception]
      # @param logged [Boolean] whether to log it: false if it only says that the client has disconnected
      # @param ends [Boolean] whether to end the response: false if it has ended already
      def fail(exception, logged, ends, body, line, *response)
        PushServer.log_exception(line, exception) if logged
      ensure
        finish(body, line, *response, exception) if ends
      end

      # Closes the body and calls rack.response_finished, the last callable first (Rack 3 SPEC).
      # @param line [String] the request line, for the log
      def finish(body, line, env, status, headers, error)
        body.close if body.respond_to?(:close)
      ensure
        callables = env["rack.response_finished"]
        call_all(callables.dup, line, env, status, headers, error) if callables.is_a?(Array)
      end

      private

      # Calls all of them, even if one of them raises or kills its thread.
      def call_all(callables, line, *arguments)
        return if callables.empty?

        begin
          callables.pop.call(*arguments)
        rescue Exception => e # rubocop:disable Lint/RescueException -- the others are called all the same
          PushServer.log_exception("rack.response_finished of #{line}", e)
        ensure
          call_all(callables, line, *arguments)
        end
      end
    end
  end
end
