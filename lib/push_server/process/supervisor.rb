# frozen_string_literal: true

require_relative "../config/options"
require_relative "../net/binder"
require_relative "../net/endpoint"
require_relative "check_answer"
require_relative "event_loop"
require_relative "inheritance"
require_relative "original_command"
require_relative "pidfile"
require_relative "self_pipe"
require_relative "signals"
require_relative "supervisor/announcements"
require_relative "supervisor/commands"
require_relative "supervisor/descriptors"
require_relative "supervisor/encryption"
require_relative "supervisor/generations"
require_relative "supervisor/heartbeat"
require_relative "supervisor/hub_keeper"
require_relative "supervisor/memory_watch"
require_relative "supervisor/parts"
require_relative "supervisor/reaper"
require_relative "supervisor/restart_queue"
require_relative "supervisor/slots"
require_relative "supervisor/state"
require_relative "supervisor/workers"

module PushServer
  # The supervisor of a server of several processes: it binds the sockets, handles signals, and starts and watches the other
  # processes. It loads no app, runs no native thread, and holds nothing that grows. It waits only for events.
  #
  # Everything happens in the thread that calls {#run}. The other methods are for actions of its loop.
  class Supervisor
    # What each signal does: the method that is called.
    SIGNALS = {
      "TERM" => :signalled, "INT" => :signalled, "QUIT" => :signalled, "USR1" => :phased_restart, "USR2" => :restart,
      "HUP" => :reload, "TTIN" => :add_worker, "TTOU" => :remove_worker, "PWR" => :backtraces, "INFO" => :backtraces,
      "CHLD" => :reap
    }.slice(*Signal.list.keys).freeze
    # The byte that a handler writes into the pipe.
    BYTES = SIGNALS.keys.each_with_index.to_h { |name, index| [name, ("a".ord + index).chr] }.freeze
    private_constant :SIGNALS, :BYTES

    # @return [Options]
    attr_reader :options

    # @param options [Options]
    # @param hooks [Hooks]
    # @param command [OriginalCommand] what starts the other processes
    # @param out [IO] for the start-up lines
    # @param err [IO] for an app that cannot be loaded
    def initialize(options, hooks, command: OriginalCommand.current, out: $stdout, err: $stderr)
      @options = options
      @err = err
      @pidfile = options[:pidfile] && Pidfile.new(options[:pidfile])
      @parts = Parts.new(options, hooks, command, Binder.new)
      @generations = Generations.new(@parts)
      @workers = Workers.new(@parts, @generations, self)
      @commands = Commands.new(self, @parts, @workers)
      @restarts = RestartQueue.new(@parts, self, @workers, @generations, @commands)
      @announcements = Announcements.new(out, @parts)
      @signals = SelfPipe.new
      # The endpoints on which no worker accepts, because they are new since an exec.
      @unserved = []
    end

    # In a child of a server that is about to restart: tells it whether this configuration can be served. Ends the process.
    # @param link [Link] to the server
    # @param options [Options]
    def self.check(link, options)
      endpoints = Endpoint.all(Activation.current.binds(options), options)
      CheckAnswer.new(link).serve(endpoints, options, **HotRestart.facts(options)) { Descriptors.suffice_for(options[:workers]) }
    end

    # Serves until it is stopped.
    # @return [Integer] the status of this process: 0 after a graceful stop
    # @raise [BindError, OptionError, Error]
    def run
      former = State.take(ExecVariables.hidden)
      # If it cannot be written, the server says so before it starts anything.
      @pidfile&.rehearse(Process.pid) unless former
      prepare
      former ? resume(former) : start
      Signals.deliver
      @parts.events.run
      @parts.hooks.call(:after_stopped)
      @announcements.stopped(@forced) unless @failed
      status
    ensure
      @commands.close
      [@parts.binder, @parts.publish, @parts.metrics].each(&:retire_all)
      @pidfile&.remove
      @handlers&.restore
    end

    # Stops gracefully: workers drain, then the leader ends, then the hub. Idempotent.
    def stop
      return if @stopping

      @stopping = true
      @commands.stopping
      @announcements.stopping
      end_listening
      @workers.stop
      end_others
    end

    # Stops without waiting for what is open. Idempotent.
    def stop_now
      @commands.stopping unless @stopping
      @stopping = @forced = true
      end_listening
      @workers.stop_now
      end_others
    end

    # Replaces all workers by new ones with new code. If such a restart runs already, another one follows it.
    # @yieldparam failure [String, nil] when it is over: why it was given up
    def phased_restart(&on_end)
      return on_end&.call("the server stops") if @stopping

      @restarts.phased(&on_end)
    end

    # @return [String] what the server does: "starting", "serving", "restarting" or "stopping"
    def state
      return "stopping" if @stopping
      return "starting" unless @served

      @restarts.under_way? ? "restarting" : "serving"
    end

    # Replaces this program, which keeps its pid, and then the workers and the hub: what a phased restart does, and also a new
    # configuration, new sockets, and a new version of push_server. If the new version cannot serve, nothing changes.
    # @param reply [ControlServer::Reply, nil] to the command that has asked for it
    def restart(reply = nil)
      return reply&.fail("the server stops") if @stopping
      return @restarts.hot(reply) if @served

      PushServer.log(:error, "not restarted: no worker serves yet")
      reply&.fail("not restarted: no worker serves yet")
    end

    # Called just before the new version takes the place of this one.
    # @api private
    def before_restart = @parts.hooks.call(:before_restart)

    # The restart is given up: this version serves on.
    # @param reason [String]
    # @api private
    def not_restarted(reason) = @restarts.hot_restart_failed(reason)

    # The sockets that outlive this program, by their places; see {Inheritance}.
    # @return [Array<Array(String, Array<Listener>)>]
    # @api private
    def places = [@parts.binder, @parts.publish, @parts.metrics, @commands].flat_map(&:places) + Inheritance.current.to_a

    # What the program that takes this one's place needs; see {State}.
    # @return [Hash{Symbol => Object}]
    # @api private
    def handover
      { workers: @workers.handover, generations: @generations.handover, hub: @parts.hub.handover, **pidfile_handover,
        statistics: @parts.slots.handover, ticket_keys: @parts.encryption.handover, urls: @parts.binder.urls - @unserved }
    end

    # Whether no signal waits to be read.
    # @api private
    def quiet? = @signals.to_io.wait_readable(0).nil?

    # @return [Integer] how many workers there should be
    def workers = @workers.size

    # Changes how many workers there should be.
    # @param size [Integer]
    # @raise [OptionError] if it is less than 1, or more than the option takes
    # @raise [Error] if the limit of open files does not allow so many
    def workers=(size)
      raise OptionError, "the number of workers must be at least 1" if size < 1

      Options::TABLE.fetch(:workers).coerce(size)
      Descriptors.suffice_for(size)
      PushServer.log(:info, "#{Plural.of(size, "worker")} instead of #{workers}")
      @workers.resize(size)
    end

    # Drains the worker with a number, and starts another one in its place.
    # @param number [Integer]
    # @return [Boolean] false if there is none
    def drain(number)
      worker = @workers.serving.find { |other| other.number == number } or return false
      @workers.drain(worker, "restart")
      true
    end

    # Has all workers open their log files anew, and gives them the certificates anew.
    def reload
      @commands.opening_logs { @workers.all.each { |worker| worker.send(:reload) } }
      @parts.encryption.reload
    end

    # Has all workers log the backtraces of their threads.
    def backtraces = @workers.all.each { |worker| worker.send(:backtraces) }

    # A worker serves, or has ended.
    # @api private
    def workers_changed
      announce if !@served && @workers.serving.any?
      announce_all if !@complete && @workers.complete?
      @commands.changed unless @stopping
      end_others if @stopping
    end

    # A worker could not be started, because the app cannot be loaded.
    # @param failure [Failure]
    # @return [Boolean] whether the server ends because of it: before the first worker serves, as with one process
    # @api private
    def load_failed(failure)
      return false if @served
      return true if @stopping

      @failed = failure
      stop_now
      PushServer.tell(@err, "#{["push_server: #{failure.message}", *failure.details].join("\n")}\n")
      true
    end

    private

    def prepare
      PushServer.log_name = "supervisor"
      PushServer.log_level = options[:log_level]
      @parts.command # is read before the title changes
      @handlers = Signals.new(SIGNALS.keys) { |number| @signals.notify(BYTES.fetch(Signal.signame(number))) }
      @parts.events.watch(@signals) { read_signals }
      @parts.adopts = NativeProcess.become_subreaper
      Descriptors.check(options)
      Endpoint.all(Activation.current.binds(options), options).each { |endpoint| bind(endpoint) }
      Activation.current.close_rest
      @parts.metrics.open
      @commands.open
      Process.setproctitle("push_server: supervisor [#{@parts.tag}]")
    end

    def start
      @parts.slots = Slots.new
      @parts.encryption = Encryption.new(@parts) { @workers.all }
      @parts.hub = HubKeeper.new(@parts, @parts.publish.open) { @parts.events.stop }
      @parts.hub.start
      @workers.fill
      watch
    end

    # Notices workers that go on but should not.
    def watch
      Heartbeat.new(@parts, @workers).start
      MemoryWatch.new(@parts, @workers).start
    end

    # Opens an endpoint, or takes over what the program before this one has left.
    def bind(endpoint)
      inherited = Inheritance.current.claim(endpoint.to_s)
      inherited ? @parts.binder.add(endpoint, inherited) : @parts.binder.add(endpoint)
    end

    # Goes on with the processes of the program before this one.
    def resume(former)
      @served = @complete = true
      @parts.slots = Slots.new(former[:statistics])
      @parts.encryption = Encryption.new(@parts, former[:ticket_keys]) { @workers.all }
      @parts.hub = HubKeeper.new(@parts, @parts.publish.open, former[:hub]) { @parts.events.stop }
      @generations.resume(former[:generations])
      @workers.resume(former[:workers])
      @parts.hub.resume(former[:hub])
      reap
      watch
      replace_pidfile(former[:pidfile])
      # Only workers that are started from now on have the sockets that are new in the configuration.
      @unserved = former[:urls] ? @parts.binder.urls - former[:urls] : []
      @announcements.executed(@unserved)
      @restarts.finish_hot_restart { |failure| failure ? report_unserved : replace_former }
    end

    def report_unserved
      return if @unserved.empty?

      PushServer.log(:warn, "no worker accepts on #{@unserved.join(", ")} until a restart succeeds: connections wait there")
    end

    # A path need not be UTF-8.
    def pidfile_handover = @pidfile ? { pidfile: [File.expand_path(@pidfile.path)].pack("m0") } : {}

    # The configuration may name another file now, or none. It was checked before the exec. If the folder has changed since
    # then, the workers serve on all the same.
    # @param former [String, nil] as {#pidfile_handover} has it
    def replace_pidfile(former)
      Pidfile.new(former.unpack1("m0")).remove if former && former != pidfile_handover[:pidfile]
      write_pidfile
    end

    # The disk may be full by now. The server goes on.
    def write_pidfile
      @pidfile&.write
    rescue Error => e
      PushServer.log(:error, "going on without a pidfile: #{e.message}")
    end

    # The last step of a restart: the former sockets and the former hub are not needed any more.
    def replace_former
      @announcements.listening(@unserved)
      @unserved = []
      @announcements.retired(Inheritance.current.release)
      @parts.hub.replace
    end

    # If one action fails, the signals that have come with it still count.
    def read_signals
      @signals.wait(0)&.each_char { |byte| PushServer.attempt { __send__(SIGNALS.fetch(BYTES.key(byte))) } }
    end

    # INT, TERM or QUIT has come.
    def signalled = @stopping ? stop_now : stop

    def reap = @parts.reaper.reap

    def add_worker
      self.workers += 1
    rescue Error => e
      PushServer.log(:warn, "cannot add a worker: #{e.message}")
    end

    def remove_worker
      return PushServer.log(:warn, "TTOU has no effect: there is one worker left, and at least one must run") if workers == 1

      self.workers -= 1
    end

    # This includes the sockets of the program before this one, if the restart has not closed them yet.
    def end_listening
      @restarts.cancel
      @parts.binder.retire_all
      Inheritance.current.release
    end

    # The leader ends when there are no workers any more, and the hub ends last.
    def end_others
      return if @ending || @workers.all.any?

      @ending = true
      @generations.stop { @parts.hub.stop }
    end

    def announce
      @served = true
      write_pidfile
      @announcements.serving
      @commands.serving
    end

    def announce_all
      @complete = true
      @parts.hooks.call(:after_booted)
      @announcements.complete(workers)
    end

    # The status of this process.
    def status
      return @failed.usage ? 2 : 1 if @failed

      @forced ? 1 : 0
    end
  end
end
