# frozen_string_literal: true

module PushServer
  # The wrappers around the callbacks of all handlers. `around=` is native: without a wrapper the extension calls
  # handlers directly.
  module Callbacks
    @wrappers = [].freeze
    @lock = Mutex.new

    class << self
      # Adds a wrapper inside the existing ones.
      # @api private
      def wrap(wrapper)
        @lock.synchronize do
          @wrappers = [*@wrappers, wrapper].freeze
          self.around = method(:call)
        end
      end

      # Runs one callback inside all wrappers. The extension calls this.
      # @api private
      def call(client, event, handler, arguments)
        innermost = -> { handler.public_send(event, *arguments) }
        run = @wrappers.reverse_each.inject(innermost) do |inner, wrapper|
          -> { wrapper.call(client, event, inner) }
        end
        run.call
      end
    end
  end

  # Wraps every callback of every client, for what must be around all code of the app: an executor, a database connection
  # from a pool, a request id. The block must call `run`; otherwise the callback does not run. If there are several
  # wrappers, the first one is the outermost.
  # Thread-safe; best called while the app is loaded.
  #
  # @example
  #   PushServer.around_callback { |client, event, run| Rails.application.executor.wrap { run.call } }
  # @yieldparam client [Client]
  # @yieldparam event [Symbol] :on_open, :on_message, :on_drained, :on_gap, :on_shutdown, :on_close or :on_error; :call
  #   for the block of a subscription
  # @yieldparam run [Proc] the callback
  def self.around_callback(&block)
    raise ArgumentError, "around_callback needs a block" unless block

    Callbacks.wrap(block)
    nil
  end
end
