# frozen_string_literal: true

require "socket"
require_relative "certificate"
require_relative "error"
require_relative "machine"

module Bench
  # A server under test, from its start to its end.
  class ServerProcess
    APP = File.expand_path("apps/app.ru", __dir__)
    # Seconds until it must listen, if nothing else is said, and until it must have ended after SIGTERM.
    START_TIMEOUT = 30
    STOP_TIMEOUT = 5
    # Lines of its output that are shown if it does not start.
    LAST_LINES = 15
    private_constant :APP, :START_TIMEOUT, :STOP_TIMEOUT, :LAST_LINES

    # @return [Integer]
    attr_reader :pid, :port
    # @return [String] the file with its output
    attr_reader :log

    # Starts a server, yields it once it listens, and stops it even after an error.
    # @param log [String] the file its output is appended to
    # @param options [Array<String>] for push_server
    # @param encrypted [Boolean] whether it listens with TLS
    # @param before [Array<String>] the words before its command line, of a program that runs it
    # @param start_timeout [Numeric] seconds until it must listen
    # @yieldparam process [ServerProcess]
    # @raise [Error] if it does not start
    def self.run(server, **how)
      process = new(server, **how)
      process.await
      yield process
    ensure
      process&.stop
    end

    def initialize(server, threads:, cpu:, log:, options: [], encrypted: false, before: [], start_timeout: START_TIMEOUT)
      @server = server
      @log = log
      @start_timeout = start_timeout
      @port = free_port
      files = Certificate.files
      bind = encrypted ? "ssl://127.0.0.1:#{@port}?cert=#{files[:cert]}&key=#{files[:key]}" : "tcp://127.0.0.1:#{@port}"
      command = server.command_line(options, app: APP, port: @port, threads: threads, bind: bind, **files)
      # In a process group of its own, since a server may have several processes, or be a script that starts one.
      @pid = spawn(server.environment, *Machine.pinned(cpu), *before, *command,
                   pgroup: true, in: File::NULL, %i[out err] => [log, "a"], **Machine.many_sockets)
    rescue SystemCallError => e
      raise Error, "#{server.name} cannot be started: #{e.message}"
    end

    # Waits until it listens.
    def await
      deadline = now + @start_timeout
      until listening?
        raise Error, "#{@server.name} ended instead of listening on port #{port}#{last_output}" if ended?
        raise Error, "#{@server.name} does not listen on port #{port} after #{@start_timeout} s#{last_output}" if now > deadline

        sleep(0.05)
      end
    end

    # Waits for its end, for at most `seconds`.
    # @return [Boolean] whether it has ended
    def ended_within?(seconds)
      deadline = now + seconds
      sleep(0.02) until ended? || now > deadline
      ended?
    end

    # Sends SIGTERM, and SIGKILL if it has not ended in time, or at once if this is interrupted.
    def stop
      signal(:TERM)
      ended_within?(STOP_TIMEOUT)
    ensure
      signal(:KILL)
      Process.wait(pid) unless @ended
    end

    private

    def ended? = @ended ||= !Process.wait(pid, Process::WNOHANG).nil?

    def free_port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }

    def listening?
      TCPSocket.open("127.0.0.1", port, &:close)
      true
    rescue SystemCallError
      false
    end

    def signal(name)
      Process.kill(name, -pid)
    rescue Errno::ESRCH
      nil # the process group is empty
    end

    def last_output
      lines = File.readlines(log).last(LAST_LINES)
      lines.empty? ? ", and its output is empty" : ". The end of its output, #{log}:\n#{lines.join.chomp}"
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
