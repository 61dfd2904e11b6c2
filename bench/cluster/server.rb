# frozen_string_literal: true

require "fileutils"
require "socket"
require "tmpdir"

module Cluster
  # A server with bench/apps/cluster.ru, and its processes.
  class Server
    ROOT = File.expand_path("../..", __dir__)
    # Seconds until it must serve, and until it must have ended.
    PATIENCE = 30
    TICKS = 100.0
    private_constant :ROOT, :PATIENCE, :TICKS

    # @return [Integer] how many processes serve
    attr_reader :workers

    # Starts a server, yields it when it serves, and stops it.
    # @param workers [Integer] 0 for a single process
    def self.run(workers)
      server = new(workers)
      server.await
      yield server
    ensure
      server&.stop
    end

    def initialize(workers)
      @port = TCPServer.open("127.0.0.1", 0) { |socket| socket.local_address.ip_port }
      @folder = Dir.mktmpdir
      command = [File.join(ROOT, "bin/push_server"), "-q", *(["-w", workers.to_s] if workers.positive?), "-t", "1",
                 "-b", "tcp://127.0.0.1:#{@port}", "-e", "production", File.join(ROOT, "bench/apps/cluster.ru")]
      @workers = [workers, 1].max
      @pid = spawn(*command, chdir: @folder)
    end

    # Waits until all workers serve.
    def await
      deadline = now + PATIENCE
      sleep(0.05) until serving? || now > deadline
      raise "the server does not serve" unless serving?
    end

    def stop
      Process.kill(:TERM, @pid)
      Process.wait(@pid)
    ensure
      FileUtils.rm_rf(@folder)
    end

    # @return [Client] a new connection
    def connect = Client.new(@port)

    # A connection to each of the workers, by pid.
    # @return [Hash{Integer => Client}]
    def connect_to_each
      deadline = now + PATIENCE
      clients = {}
      until clients.size == @workers
        raise "only #{clients.size} workers answer" if now > deadline

        client = connect
        clients.key?(client.worker) ? client.close : clients[client.worker] = client
      end
      clients
    end

    # Connections, as many to each worker.
    # @return [Array<Client>]
    def spread(count)
      share = count / @workers
      all = Hash.new { |hash, worker| hash[worker] = [] }
      until all.size == @workers && all.each_value.all? { |clients| clients.size == share }
        client = connect
        all[client.worker].size < share ? all[client.worker] << client : client.close
      end
      all.values.flatten
    end

    # CPU time that all processes have used, in seconds, by title of the process.
    # @return [Hash{String => Float}]
    def cpu = processes.to_h { |pid| ["#{title(pid)} #{pid}", ticks(pid) / TICKS] }

    # @return [Integer, nil] the pid of the hub
    def hub = processes.find { |pid| title(pid).include?("hub") }

    # @return [Integer] bytes of memory that only this process has
    def self.private_memory(pid)
      File.read("/proc/#{pid}/smaps_rollup").scan(/^Private_(?:Clean|Dirty):\s+(\d+)/).flatten.sum(&:to_i) * 1024
    end

    private

    def serving?
      connect.worker.positive?
    rescue SystemCallError, EOFError
      false
    end

    # This process and its descendants.
    def processes
      parents = Dir["/proc/[0-9]*/stat"].filter_map do |path|
        [File.read(path)[/\) \S (\d+)/, 1].to_i, path[/\d+/].to_i]
      rescue SystemCallError
        nil
      end
      found = [@pid]
      found.each { |pid| found.concat(parents.filter_map { |parent, child| child if parent == pid }) }
    end

    def title(pid) = File.read("/proc/#{pid}/cmdline").tr("\0", " ").strip

    def ticks(pid) = File.read("/proc/#{pid}/stat")[/\) (.*)/, 1].split.values_at(11, 12).sum(&:to_i)

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # A keep-alive connection, which stays at its worker.
  class Client
    # @return [Socket]
    attr_reader :socket

    def initialize(port)
      @socket = TCPSocket.new("127.0.0.1", port)
      @socket.setsockopt(:TCP, :NODELAY, true)
    end

    # @return [Integer] the pid of its worker
    def worker = @worker ||= Integer(get("/pid"))

    # @return [String] the body
    def get(path, headers = nil)
      ask(path, headers)
      answer
    end

    # Sends a request.
    def ask(path = "/pid", headers = nil) = @socket.write("GET #{path} HTTP/1.1\r\nhost: localhost\r\n#{headers}\r\n")

    # @return [String] the body of the response
    def answer
      head = @socket.gets("\r\n\r\n") or raise EOFError
      @socket.read(Integer(head[/content-length: (\d+)/i, 1]))
    end

    # Makes it an event stream of the channel.
    def subscribe
      @socket.write("GET /subscribe HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
      # The subscription begins with an event that says so.
      line = @socket.gets until line&.start_with?("event: push.open")
      @socket.gets("\n\n")
      self
    end

    # Polls, and does not wait for messages.
    # @param id [String, nil] what the poll before has returned
    # @return [String] the ID for the next one
    def poll(id = nil)
      resume = "last-event-id: #{id}\r\n" if id
      body = get("/subscribe?push_wait=0", "accept: text/event-stream\r\n#{resume}")
      body[/^id: (.*)$/, 1] or raise "an answer without an ID: #{body}"
    end

    # @return [String] the data of the next event
    def event
      line = @socket.gets or raise EOFError
      line = @socket.gets until line.nil? || line.start_with?("data: ")
      line.delete_prefix("data: ").chomp
    end

    def close = @socket.close
  end
end
