# frozen_string_literal: true

module PushServer
  # What is wrapped around every callback of every handler. `around=` is native: without a wrapper the core calls
  # handlers directly.
  module Callbacks
    @wrappers = [].freeze
    @lock = Mutex.new

    class << self
      # Adds a wrapper inside those there are.
      # @api private
      def wrap(wrapper)
        @lock.synchronize do
          @wrappers = [*@wrappers, wrapper].freeze
          self.around = method(:call)
        end
      end

      # Runs one callback inside all wrappers; the core calls it.
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

  # Wraps every callback of every client, for what must be around all code of the app: an executor, a connection of a
  # pool, a request id. The block must call `run`, or the callback does not happen. Of several, the first is outermost.
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
