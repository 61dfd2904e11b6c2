# frozen_string_literal: true

require_relative "check"
require_relative "inheritance"
require_relative "notifier"
require_relative "original_command"
require_relative "signals"

module PushServer
  # The restart of a server, single process or supervisor: a {Check} first, and when the server is ready for it, the same command
  # in place of this process, with the sockets. One thread, except for {#execute}.
  class Restart
    # Seconds between two looks whether a child has ended that has closed its link.
    INTERVAL = 0.02
    private_constant :INTERVAL

    # @param loop [EventLoop]
    # @param seconds [Numeric, nil] how long the new version may take to load
    # @param reaper [#expect, nil] as for {Check#initialize}
    def initialize(loop, seconds: nil, reaper: nil)
      @loop = loop
      @seconds = seconds
      @reaper = reaper
    end

    # Whether the new version is being checked.
    def checking? = !@check.nil?

    # Starts to check whether the new version can serve.
    # @param places [Array<String>] see {Inheritance#places}
    # @yieldparam result [Check::Result] when that is known
    # @raise [Error] if the child cannot be started
    def check(places, &on_result)
      @check = Check.new(places, seconds: @seconds, reaper: @reaper)
      @loop.watch(@check) { look(on_result) }
      @timers = [(@loop.after(@seconds) { look(on_result) } if @seconds)]
    end

    # Ends the check, and closes what it has opened, and what an earlier one has opened.
    def abort
      forget&.abort
      @opened&.release
      @opened = nil
    end

    # Executes the command in place of this process. From here on the signals that stop a server end this process as the
    # system does. The other ones are ignored until the new program handles them. To be called by the main thread.
    # @param places [Array<Array(String, Array<Listener>)>] the sockets to keep, beside those that the check has opened
    # @param added [Hash{String => String}] environment variables for the new program
    # @param descriptors [Hash{Integer => Integer}] further descriptors that stay open
    # @yieldreturn [Boolean] whether to go through with it; called when no signal can get lost any more
    # @raise [Error] if the system does not execute it
    def execute(places, added: {}, descriptors: {})
      former = Signals.prepare_exec
      return unless yield

      inheritance = Inheritance.new
      (places + (@opened&.to_a || [])).each { |place, listeners| inheritance.add(place, listeners) }
      [$stdout, $stderr].each { |io| io.flush unless io.closed? }
      OriginalCommand.current.exec(inheritance, added: Notifier.current.environment.merge(added), **descriptors)
    ensure
      # To keep them open over the exec, Ruby lets all programs inherit them, and does not undo that.
      inheritance&.sockets&.each { |socket| socket.close_on_exec = true unless socket.closed? }
      Signals.undo_exec(former) if former
    end

    private

    def look(on_result)
      result = @check&.result or return follow(on_result)
      # It has nothing more to do, but it may not be able to write what its app has printed.
      forget.then { |check| @loop.after(Check::END_PATIENCE) { check.kill } }
      @opened = result.sockets if result.ok?
      on_result.call(result)
    end

    # Asks on if there is nothing more to read.
    def follow(on_result)
      return unless @check&.disconnected?

      @timers << @loop.every(INTERVAL) { look(on_result) } if @loop.forget(@check)
    end

    def forget
      return unless (check = @check)

      @loop.forget(check)
      @timers.each { |timer| @loop.cancel(timer) }
      @check = nil
      check
    end
  end
end
