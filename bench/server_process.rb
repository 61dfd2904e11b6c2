# frozen_string_literal: true

require "socket"
require_relative "error"
require_relative "machine"

module Bench
  # A server under test, from its start to its end.
  class ServerProcess
    APP = File.expand_path("apps/app.ru", __dir__)
    # What it may take to listen, and to end once asked to.
    START = 30
    STOP = 5
    # How much of its output is shown if it does not start.
    LAST_LINES = 15
    private_constant :APP, :START, :STOP, :LAST_LINES

    # @return [Integer]
    attr_reader :pid, :port
    # @return [String] the file with its output
    attr_reader :log

    # Starts a server, yields it once it listens, and stops it, whatever happens.
    # @param log [String] the file its output is appended to
    # @yieldparam process [ServerProcess]
    # @raise [Error] if it does not start
    def self.run(server, threads:, cpu:, log:)
      process = new(server, threads: threads, cpu: cpu, log: log)
      process.await
      yield process
    ensure
      process&.stop
    end

    def initialize(server, threads:, cpu:, log:)
      @server = server
      @log = log
      @port = free_port
      command = server.command_line(app: APP, port: @port, threads: threads)
      # A group of its own: a server may have processes, or be a script that starts one.
      @pid = spawn(server.environment, *Machine.pinned(cpu), *command,
                   pgroup: true, in: File::NULL, %i[out err] => [log, "a"], **Machine.many_sockets)
    rescue SystemCallError => e
      raise Error, "#{server.name} cannot be started: #{e.message}"
    end

    # Waits until it listens.
    def await
      deadline = now + START
      until listening?
        raise Error, "#{@server.name} ended instead of listening on port #{port}#{last_words}" if ended?
        raise Error, "#{@server.name} does not listen on port #{port} after #{START} s#{last_words}" if now > deadline

        sleep(0.05)
      end
    end

    # Waits for its end, up to some seconds.
    # @return [Boolean] whether it has come
    def ended_within?(seconds)
      deadline = now + seconds
      sleep(0.02) until ended? || now > deadline
      ended?
    end

    # Asks it to end, and makes it, at once if this is interrupted.
    def stop
      signal(:TERM)
      ended_within?(STOP)
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
      nil # there is nobody left
    end

    def last_words
      lines = File.readlines(log).last(LAST_LINES)
      lines.empty? ? ", and said nothing" : ". Its last words, from #{log}:\n#{lines.join.chomp}"
    end

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
