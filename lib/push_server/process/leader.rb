# frozen_string_literal: true

require_relative "../config/options"
require_relative "birth"
require_relative "failure_report"
require_relative "outside"
require_relative "protocol"
require_relative "role_signals"
require_relative "statistics"
require_relative "worker"

module PushServer
  # The process of a leader: it loads the app once, and forks workers from it, so that they share its memory. Signals do nothing
  # here.
  class Leader
    # @param link [Link] to the supervisor
    # @param hooks [Hooks]
    # @yield makes the app
    # @yieldreturn [#call]
    def initialize(link, hooks, &load)
      @link = link
      @hooks = hooks
      @load = load
    end

    # Loads the app, and forks workers until it is told to end. In the workers, this does not return.
    # @return [Integer] the status of this process
    def run
      RoleSignals.handle
      @link.send(:started, pid: Process.pid)
      message = @link.receive
      return 0 unless message.is_a?(Link::Message) && message.kind == "boot"

      boot(message)
      follow_orders
      0
    rescue Error => e
      @link.send(:failed, **FailureReport.new(e).fields)
      1
    end

    private

    def boot(message)
      Protocol.check(message)
      lifeline, statistics = message.ios
      Statistics.use(statistics)
      NativeLifeline.start(lifeline.fileno, "this process")
      lifeline.close
      PushServer.log_name = "leader"
      Process.setproctitle("push_server: leader #{message[:generation]} [#{message[:tag]}]")
      @options = Options.load(message[:options])
      PushServer.log_level = @options[:log_level]
      @birth = Birth.new(message[:adopts])
      Outside.publish_to_hub(message, @options)
      @app = while_watching { @load.call }
      # The collector marks old objects. Now, they are not changed in each worker.
      Process.respond_to?(:warmup) ? Process.warmup : GC.start
      @link.send(:loaded, code: Dir.pwd)
    end

    # Loading may take long. Meanwhile a thread notices that this process is to end.
    def while_watching
      watch = Thread.new { Process.exit!(0) if @link.receive }
      watch.name = "push_server link"
      yield
    ensure
      watch&.kill&.join
    end

    def follow_orders
      until @stopping && !@birth.children?
        message = @link.receive(@birth.children? ? Birth::INTERVAL : nil)
        report(@birth.ended)
        return if message == :eof

        case message&.kind
        when "fork" then fork_worker(message)
        when "stop" then @stopping = true
        end
      end
    end

    # Tells how workers have ended whose parent this process is.
    def report(statuses)
      statuses.each do |status|
        @link.send(:exited, pid: status.pid, status: status.exitstatus, signal: status.termsig)
      end
    end

    def fork_worker(message)
      number = message[:number]
      @hooks.call(:before_fork) unless @forked
      @forked = true
      @hooks.call(:before_worker_fork, number)
      # What was published while the app was loaded, or by a hook, went over a connection that no worker inherits.
      Outside.close
      pid = @birth.fork { become_worker(message) }
      @hooks.call(:after_worker_fork, number)
      @link.send(:forked, process: message[:process], pid: pid)
    rescue SystemCallError => e
      not_forked(message, "cannot fork: #{e.message}. Raise the system's limit on processes")
    rescue Birth::Failed => e
      not_forked(message, "cannot fork: #{e.message}")
    ensure
      message.close
    end

    def not_forked(message, why) = @link.send(:not_forked, process: message[:process], message: why)

    # In a new worker.
    def become_worker(message)
      @link.close
      app = @app
      exit Worker.new(Link.new(message.ios.first, waits: true), @hooks) { app }.run
    end
  end
end
