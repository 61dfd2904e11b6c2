# frozen_string_literal: true

require "spec_helper"

# As soak_spec.rb, with two workers that publish to each other's clients. One serves all the time; the other one is replaced after
# each round.
RSpec.describe "A server with two workers", :full, transport: :tcp do
  # See soak_spec.rb.
  serve File.join(AppProcess::ROOT, "spec/apps/soak/config.ru"), "-w", 2, "--channel-memory", "8MiB",
        dir: Dir.tmpdir, env: { "MALLOC_ARENA_MAX" => "1" }

  # Each after rounds to warm up: by then the logs of the channels are full.
  rounds = 8
  warm_up = 2
  requests = Integer(ENV.fetch("SOAK_REQUESTS", 50_000)) / rounds
  cycles = Integer(ENV.fetch("SOAK_CYCLES", 10_000)) / rounds
  # In KiB.
  tolerance = 8 * 1024

  def run_clients(requests, cycles)
    script = Script.new("../../full/clients/soak.mjs", app.port.to_s, requests.to_s, cycles.to_s, "publish")
    expect(script.results).to eq(requests: requests, cycles: cycles)
  end

  # Each process by its part: supervisor, hub, leader, worker_1, worker_2.
  def pids
    tree = app.tree
    workers = tree.workers.to_h { |worker| [:"worker_#{worker.number}", worker.pid] }
    { supervisor: app.pid, hub: tree.hub.pid, leader: tree.leaders.first.pid }.merge(workers)
  end

  def entries(pid, kind) = Dir.children("/proc/#{pid}/#{kind}").size

  # Resident memory in KiB. The private one grows by itself for a while: each page that is written is no longer shared.
  def memory(pid) = File.read("/proc/#{pid}/status")[/^VmRSS:\s+(\d+)/, 1].to_i

  # By part: descriptors and threads, after all connections have ended.
  def state(before)
    pids.to_h do |part, pid|
      descriptors = eventually("all connections of #{part} to be closed") do
        (count = entries(pid, "fd")) <= before.fetch(part, count) && count
      end
      [part, { descriptors: descriptors, threads: entries(pid, "task"), memory: memory(pid) }]
    end
  end

  # The pid of the worker that has taken the place of this one; nil if it is not there yet, or if the former one still is. By one look
  # at the processes: between two looks, a killed one may end.
  def other_worker_2(before)
    all = app.tree.workers
    second = all.find { |worker| worker.number == 2 }&.pid
    second if all.size == 2 && second != before
  end

  # Replaces worker 2, by a kill or a drain.
  def replace(signal)
    before = pids[:worker_2]
    Process.kill(signal, before)
    after = eventually("another worker 2") { other_worker_2(before) }
    eventually("it to serve", seconds: 60) do
      client = http
      served_by = client.get("/pid").body.to_i
      client.close
      served_by == after
    end
  end

  it "uses no more descriptors, threads and memory after #{rounds} times #{requests} requests and #{cycles} streams" do
    skip "There is no /proc here" unless File.exist?("/proc/self/status")
    skip Script.missing(:node) if Script.missing(:node)

    app.wait_for_line(/All 2 workers serve/)
    first = pids
    descriptors = first.transform_values { |pid| entries(pid, "fd") }
    states = Array.new(warm_up + rounds) do |round|
      # Workers that die young again and again would be started later and later.
      replace((round % 4).zero? ? "KILL" : "TERM")
      run_clients(requests, cycles)
      state(descriptors)
    end
    expect(pids).to include(first.except(:worker_2))
    states.first.each_key do |part|
      before, *, after = states.drop(warm_up - 1).map { |state| state[part] }
      memory = states.map { |state| state[part][:memory] }
      RSpec.configuration.reporter.message("    #{part}: KiB of memory after each round: #{memory.join(", ")}")
      expect([part, after]).to match([part, include(before.slice(:descriptors, :threads))])
      expect(memory.last(3).min).to be <= memory.drop(warm_up - 1).first(3).min + tolerance
    end
  end
end
