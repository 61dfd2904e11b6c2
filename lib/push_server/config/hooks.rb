# frozen_string_literal: true

require_relative "../errors"
require_relative "../log"
require_relative "../rack/error_report"

module PushServer
  # The blocks that a configuration file has for moments in the life of the processes. One thread registers them and freezes
  # this; then any thread may call them, in any process.
  class Hooks
    # name => where it runs.
    PLACES = {
      before_fork: :leader, before_worker_fork: :leader, after_worker_fork: :leader,
      before_worker_boot: :worker, before_worker_shutdown: :worker,
      before_thread_start: :thread, before_thread_exit: :thread,
      after_booted: :server, before_restart: :server, after_stopped: :server
    }.freeze
    NAMES = PLACES.keys.freeze
    # Puma's older names.
    ALIASES = {
      on_worker_fork: :before_worker_fork, after_worker_boot: :after_worker_fork, on_worker_boot: :before_worker_boot,
      on_worker_shutdown: :before_worker_shutdown, on_thread_start: :before_thread_start, on_thread_exit: :before_thread_exit,
      on_booted: :after_booted, on_restart: :before_restart, on_stopped: :after_stopped
    }.freeze
    Hook = Struct.new(:block, :key, :place)
    private_constant :Hook

    # @return [Boolean] whether a hook of this name runs only with workers
    def self.cluster?(name) = %i[leader worker].include?(PLACES.fetch(name))

    def initialize
      @hooks = NAMES.to_h { |name| [name, []] }.freeze
      # What the hooks of one key share.
      @data = Hash.new { |all, key| all[key] = {} }
      @lock = Mutex.new
    end

    # Adds a block. Those of one name run in the order in which they were added.
    # @param name [Symbol] one of {NAMES} or {ALIASES}
    # @param block [#call]
    # @param key [Symbol, nil] blocks with the same key get a Hash that they share, after the other arguments
    # @param place [String] where it is, for the log
    def add(name, block, key: nil, place: "a hook")
      @hooks.fetch(ALIASES.fetch(name, name)) << Hook.new(block, key&.to_sym, place).freeze
    end

    # No block can be added afterwards.
    def freeze
      @hooks.each_value(&:freeze)
      super
    end

    # Runs the blocks of a hook, on the current thread. If one of them raises, the exception is logged and the next one runs: a
    # mistake in a hook does not stop the server.
    # @param name [Symbol] one of {NAMES}
    # @param arguments [Array] such as the number of the worker
    # @return [void]
    def call(name, *arguments)
      @hooks.fetch(name).each { |hook| run(name, hook, arguments) }
    end

    # Runs the blocks of a hook, on the current thread, up to one that raises.
    # @param name [Symbol] one of {NAMES}
    # @param arguments [Array] such as the number of the worker
    # @raise [Error] one line with the place, the message and the class; the cause is the exception
    # @return [void]
    def call!(name, *arguments)
      @hooks.fetch(name).each { |hook| run!(name, hook, arguments) }
    end

    # @return [Boolean] whether there is a block for this hook
    def any?(name) = @hooks.fetch(name).any?

    # @return [Array<String>] where the blocks of this hook are
    def places(name) = @hooks.fetch(name).map(&:place)

    private

    def run(name, hook, arguments)
      invoke(hook, arguments)
    rescue StandardError, ScriptError => e
      PushServer.log_exception("#{name} (#{hook.place})", e)
    end

    def run!(name, hook, arguments)
      invoke(hook, arguments)
    rescue StandardError, ScriptError => e
      raise Error, "#{name} (#{hook.place}) raises: #{ErrorReport.summary(e)}"
    end

    def invoke(hook, arguments)
      arguments += [@lock.synchronize { @data[hook.key] }] if hook.key
      # Unlike a block, a lambda or method takes exactly the arguments that it has.
      exact = hook.block.respond_to?(:lambda?) && hook.block.lambda? && hook.block.arity >= 0
      hook.block.call(*(exact ? arguments.take(hook.block.arity) : arguments))
    end

    # Of a process without a configuration file.
    NONE = new.freeze
  end
end
