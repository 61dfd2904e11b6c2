# frozen_string_literal: true

require "socket"
require_relative "../log"

module PushServer
  # Tells systemd, or whatever has set NOTIFY_SOCKET, what this process does; see sd_notify(3). Without that variable it does
  # nothing. Never raises and never waits. Any thread.
  #
  # The variables are taken out of the environment, so that no child can send notifications for this process.
  class Notifier
    # The environment variables.
    SOCKET = "NOTIFY_SOCKET"
    WATCHDOG = "WATCHDOG_USEC"
    WATCHDOG_PID = "WATCHDOG_PID"
    VARIABLES = [SOCKET, WATCHDOG, WATCHDOG_PID].freeze
    # Seconds that an app may take to load.
    LOADING = 300
    private_constant :LOADING, :SOCKET, :WATCHDOG, :WATCHDOG_PID

    class << self
      # The notifier of this process. The first call must come before the app is loaded.
      # @return [Notifier]
      def current = @current ||= take(ENV)

      # @param env [#delete] the environment variables
      def take(env) = new(VARIABLES.to_h { |name| [name, env.delete(name)] }.compact)
    end

    # The variables again, for a program that takes the place of this process.
    # @return [Hash{String => String}]
    attr_reader :environment

    # Seconds between two calls of {#beat}: half of what systemd allows. nil if it expects none.
    # @return [Float, nil]
    attr_reader :interval

    # @param environment [Hash{String => String}] some of {VARIABLES}
    def initialize(environment)
      @environment = environment.freeze
      path = environment[SOCKET].to_s
      @address = Addrinfo.unix(path.sub(/\A@/, "\0"), :DGRAM) if path.start_with?("/", "@")
      PushServer.log(:warn, "#{SOCKET} is #{path.inspect}, which is not supported") unless path.empty? || @address
      usec = environment[WATCHDOG].to_i
      mine = [nil, "", Process.pid.to_s].include?(environment[WATCHDOG_PID])
      @interval = usec / 2_000_000.0 if @address && mine && usec.positive?
      @pid = Process.pid
    rescue ArgumentError => e
      PushServer.log(:warn, "#{SOCKET} cannot be used: #{e.message}")
    end

    # Whether there is a socket to write to.
    def on? = !@address.nil?

    # The server serves, also again after {#reloading}.
    # @param status [String] one line for people
    def ready(status) = tell("READY=1", "MAINPID=#{Process.pid}", status: status)

    # The server loads its configuration anew, restarts, or opens files anew. {#ready} follows.
    # @param status [String]
    def reloading(status)
      tell("RELOADING=1", "MONOTONIC_USEC=#{Process.clock_gettime(Process::CLOCK_MONOTONIC, :microsecond)}", status: status)
    end

    # The server stops.
    # @param status [String]
    def stopping(status) = tell("STOPPING=1", status: status)

    # What the server does now. Sent only if it has changed.
    # @param text [String]
    def status(text) = (tell(status: text) unless text == @status)

    # Says in a loop that the server is healthy, in place of {#beat_while_loading}.
    # @param loop [EventLoop]
    def beat_in(loop)
      @loading&.kill
      loop.every(interval) { beat } if interval
    end

    # Tells systemd that the process is healthy until {#beat_in}, for a time in which an app can be loaded. systemd expects
    # that from a process that has executed itself anew.
    def beat_while_loading
      return unless interval

      @loading = Thread.new do
        (LOADING / interval).ceil.times do
          beat
          sleep(interval)
        end
      end
    end

    # The server is healthy. To be called each {#interval} seconds.
    def beat = tell("WATCHDOG=1")

    private

    def tell(*lines, status: nil)
      return unless @address && Process.pid == @pid

      if status
        @status = status
        lines << "STATUS=#{status.tr("\n", " ")}"
      end
      socket = Socket.new(:UNIX, :DGRAM)
      socket.connect(@address)
      sent = socket.sendmsg_nonblock(lines.join("\n"), 0, exception: false)
      complain("its buffer is full, so systemd does not read it") if sent == :wait_writable
    rescue SystemCallError => e
      complain(e.message)
    ensure
      socket&.close
    end

    # Once: a watchdog would repeat it for ever.
    def complain(reason)
      PushServer.log(:warn, "cannot tell systemd what the server does (#{SOCKET}): #{reason}") unless @complained
      @complained = true
    end
  end
end
