# frozen_string_literal: true

require_relative "../config/options"
require_relative "../net/listener"
require_relative "backtraces"
require_relative "failure_report"
require_relative "outside"
require_relative "protocol"
require_relative "role_signals"
require_relative "self_pipe"
require_relative "service"
require_relative "statistics"

module PushServer
  # The process of a worker: a {Service} on the sockets that it has from the supervisor, whose orders it follows. Signals do
  # nothing here but TERM, which drains it.
  #
  # Orders, signals and the service only write an event into a pipe. The main thread reads the events and acts on them. Another
  # thread reads the link: it answers the supervisor as long as Ruby runs, even while the main thread is busy.
  class Worker
    DRAIN = "d"
    STOP = "s"
    TERM = "t"
    RETIRE = "r"
    RELOAD = "h"
    RENEW = "c"
    # What the service tells.
    SERVICE_EVENTS = { drained: "D", threads_changed: "w" }.freeze
    # Seconds to wait for the hub at the boot, without a worker_boot_timeout.
    HUB_TIMEOUT = 60
    private_constant :DRAIN, :STOP, :TERM, :RETIRE, :RELOAD, :RENEW, :SERVICE_EVENTS, :HUB_TIMEOUT

    # @param link [Link] to the supervisor
    # @param hooks [Hooks]
    # @yield makes the app
    # @yieldreturn [#call]
    def initialize(link, hooks, &load)
      @link = link
      @hooks = hooks
      @load = load
      @events = SelfPipe.new
    end

    # Serves until it is told to end.
    # @return [Integer] the status of this process
    def run
      RoleSignals.handle { @events.notify(TERM) }
      @link.send(:started, pid: Process.pid)
      message = @link.receive
      return 0 unless message.is_a?(Link::Message) && message.kind == "boot"

      boot(message)
      follow
      0
    rescue Error, IOError, SystemCallError, ThreadError => e
      @link.send(:failed, **FailureReport.new(e).fields)
      1
    ensure
      @service&.stop(:forced) unless @stopped
    end

    private

    def boot(message)
      Protocol.check(message)
      lifeline, *sockets = message.ios
      statistics = sockets.pop if message[:statistics]
      certificates, @ticket_keys = sockets.pop(2) if message[:encrypted]
      introduce(message)
      Statistics.use(statistics, process: message[:process])
      Channels.use_hub(message[:process], message[:generation], @options[:workers], @options.settings)
      NativeLifeline.start(lifeline.fileno, "this process")
      lifeline.close
      listeners = sockets.zip(message[:listeners]).map { |socket, description| Listener.described(socket, description) }
      read_certificates(certificates) if certificates
      secure(listeners)
      receive_messages
      serve(listeners)
      @link.send(:booted)
    end

    # Takes its number, its name and its options from the first message.
    def introduce(message)
      @number, process, generation, tag = message.fields.values_at(:number, :process, :generation, :tag)
      @options = Options.load(message[:options])
      PushServer.log_name = "worker #{@number}"
      PushServer.log_level = @options[:log_level]
      Outside.publish_to_hub(message, @options)
      Process.setproctitle("push_server: worker #{@number} process #{process} generation #{generation} [#{tag}]")
    end

    def serve(listeners)
      app = @load.call
      await_hub
      @hooks.call!(:before_worker_boot, @number)
      @service = Service.new(app, @options, hooks: @hooks, processes: true)
      @service.ticket_keys = TicketKeys.shared(@ticket_keys) if @ticket_keys
      @listeners = listeners.each { |listener| @service.listen(listener) }
      # The service has its own duplicates.
      @listeners.each(&:close)
      # Before it accepts: from then on, an order to end must not cut off what clients have sent.
      @serving = true
      @service.start { |event| @events.notify(SERVICE_EVENTS.fetch(event)) }
    end

    # @param file [IO] as {Supervisor::Encryption} has written it; is closed
    def read_certificates(file)
      @certificates = Marshal.load(file.pread(file.stat.size, 0)) # rubocop:disable Security/MarshalLoad -- it comes from the supervisor
    ensure
      file.close
    end

    # @return [Array<Listener>] those that encrypt their connections
    def secure(listeners)
      listeners.select { |listener| @certificates&.key?(listener.url) }
               .each { |listener| listener.secure(@certificates.fetch(listener.url)) }
    end

    # Waits for the histories that the hub has. Otherwise the first clients would be told of gaps.
    def await_hub
      seconds = @options[:worker_boot_timeout] || HUB_TIMEOUT
      raise Error, "the hub has not answered within #{seconds} s" unless Channels.await_hub(seconds)
    end

    # Starts the thread that reads the link.
    def receive_messages
      thread = Thread.new do
        while (message = @link.receive).is_a?(Link::Message)
          # If this fails, the messages after it still count: without them, the worker would be killed.
          PushServer.attempt { handle_message(message) }
        end
        end_early # The supervisor is gone. A worker that serves is ended by its lifeline.
      end
      thread.name = "push_server link"
    end

    def handle_message(message)
      case message.kind
      when "ping" then @link.send(:pong)
      when "backtraces" then Backtraces.log
      when "reload" then @events.notify(RELOAD)
      when "certificates"
        read_certificates(message.ios.first)
        @events.notify(RENEW)
      when "retire" then end_early || @events.notify(RETIRE)
      when "stop" then end_early || @events.notify(STOP)
      when "drain"
        @order = message
        end_early || @events.notify(DRAIN)
      end
    end

    # A worker that does not serve yet has nothing to drain, and may be busy for long.
    def end_early = @serving ? false : Process.exit!(0)

    # Reads events until the service has ended.
    def follow
      until @stopped
        events = @events.wait(@service.respawn_delay)
        events ? events.each_char { |event| handle(event) unless @stopped } : @service.respawn
      end
    end

    def handle(event)
      case event
      when SERVICE_EVENTS[:threads_changed] then @service.respawn
      when SERVICE_EVENTS[:drained] then finish(:graceful)
      when RELOAD then @service.reopen_logs
      when RENEW then secure(@listeners).each { |listener| @service.renew(listener) }
      when RETIRE then retire
      when DRAIN then drain(@order[:seconds], @order[:reason])
      when TERM then leave
      when STOP then finish(:forced)
      end
    end

    # TERM came to this process alone, or to all processes of the server: the supervisor knows which, and tells this worker
    # to drain.
    def leave = @link.send(:draining)

    def retire
      @listeners.each { |listener| @service.retire(listener) }
      @link.send(:retired)
    end

    # @param reason ["restart", "stop"] what clients are told
    def drain(seconds, reason)
      return if @draining

      @draining = true
      @service.drain(seconds, restarts: reason == "restart")
    end

    def finish(ending)
      @stopped = true
      @hooks.call(:before_worker_shutdown, @number)
      stuck = !@service.stop(ending)
      settle if ending == :graceful
      @link.send(:drained)
      return unless stuck

      PushServer.log(:warn, "a thread is in native code that does not return: the process ends without it")
      Process.exit!(1)
    end

    # Waits until the hub has numbered what this process has published, and which members it has disconnected.
    def settle
      return if Channels.settle(@options[:publish_timeout])

      PushServer.log(:warn, "the hub has not confirmed all that this worker has published: messages may be lost")
    end
  end
end
