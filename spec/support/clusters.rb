# frozen_string_literal: true

require "json"

# Servers with several processes, for the examples in spec/cluster.
module Clusters
  # Answers with the pid of the process that serves.
  PIDS = "run ->(_) { [200, {}, [Process.pid.to_s]] }"

  # How signals reach a server: to its supervisor alone, or to all processes, as a terminal, systemd or a script does it. Each is called
  # with the pids, the supervisor's first, and the signal.
  TARGETS = {
    "the supervisor" => ->(pids, signal) { Process.kill(signal, pids.first) },
    "the process group" => ->(pids, signal) { Process.kill(signal, -pids.first) },
    "each process, the supervisor first" => ->(pids, signal) { Clusters.kill_each(pids, signal) },
    "each process, the supervisor last" => ->(pids, signal) { Clusters.kill_each(pids.reverse, signal) }
  }.freeze

  RSpec.configure { |config| config.include self, file_path: %r{/spec/cluster/} }

  def self.kill_each(pids, signal)
    pids.each do |pid|
      Process.kill(signal, pid)
    rescue Errno::ESRCH
      nil # It has ended by itself.
    end
  end

  # Starts a server with workers, and waits until all of them serve. Arguments as for AppProcess.new.
  def start_cluster(source = PIDS, *options, workers: 2, **how)
    start_app(source, "-w", workers, *options, **how)
    app.wait_for_line(/All #{workers} workers serve/) if workers > 1
    app
  end

  # The children of the supervisor. See ProcessTree.
  def tree = app.tree

  # The workers by their numbers: number => pid.
  def workers = tree.workers.to_h { |worker| [worker.number, worker.pid] }

  # The body of one answer. The connection is closed: a worker that drains would wait for another request on it.
  def fetch(path = "/")
    client = HttpClient.new(app.address)
    client.get(path).body
  ensure
    client&.close
  end

  # A connection to this worker. The app answers / with its pid.
  def http_on(pid)
    until_found("a connection to the worker #{pid}") do
      connection = http
      next connection if connection.get("/").body == pid.to_s

      connection.close
      nil
    end
  end

  # Tries again until the block returns something, and returns that. Workers take turns, and a new one may have to boot first.
  def until_found(what, seconds: 30)
    deadline = Deadline.in(seconds)
    loop do
      found = yield
      return found if found
      raise Deadline::Missed, "gave up looking for #{what}" if deadline.passed?
    end
  end

  # Sends the hub a signal. Returns its pid, or nil if there was none.
  def kill_hub(signal = "KILL")
    hub = tree.hub&.pid
    Process.kill(signal, hub) if hub
    hub
  rescue Errno::ESRCH
    nil
  end

  # Waits for another hub than the one with this pid.
  def expect_another_hub(before)
    expect_eventually("another hub than #{before}") { ![nil, before].include?(tree.hub&.pid) }
  end

  # The pids of the workers that have answered a number of requests, each on a connection of its own.
  def answering(requests = 12) = Array.new(requests) { fetch.to_i }.uniq.sort

  # Waits until exactly these workers are there, other ones than before, and serve. Returns them: number => pid.
  def expect_new_workers(numbers, before:, seconds: 20)
    expect_eventually("new workers #{numbers}", seconds: seconds) do
      (now = workers).keys.sort == numbers && (now.values & before).empty? && numbers.size == answering.size
    end
    workers
  end

  # Whether a process with this pid exists; a zombie does.
  def alive?(pid)
    Process.kill(0, pid)
    true
  rescue Errno::ESRCH
    false
  end

  # Waits until none of these processes exists.
  def expect_gone(pids, seconds: 10)
    expect_eventually("no process of #{pids}", seconds: seconds) { pids.none? { |pid| alive?(pid) } }
  end

  # The pids of all processes of the server.
  def all_pids = [app.pid, *tree.children.map(&:pid)]
end
