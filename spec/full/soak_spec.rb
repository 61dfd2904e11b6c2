# frozen_string_literal: true

require "spec_helper"

# After many requests and streams, the server uses as much as before.
RSpec.describe "A server", :full do
  # One arena. With one for each thread, glibc keeps varying tens of MiB of freed memory (docs/performance.md).
  serve File.join(AppProcess::ROOT, "spec/apps/soak/config.ru"), dir: Dir.tmpdir, env: { "MALLOC_ARENA_MAX" => "1" }

  # Each after one round to warm up.
  rounds = 10
  warm_up = 2
  requests = Integer(ENV.fetch("SOAK_REQUESTS", 100_000)) / rounds
  cycles = Integer(ENV.fetch("SOAK_CYCLES", 20_000)) / rounds
  # In KiB. What allocators keep varies by a few MiB. If each request left 100 bytes, it would be more.
  tolerance = 8 * 1024

  def client(requests, cycles)
    script = Script.new("../../full/clients/soak.mjs", app.port.to_s, requests.to_s, cycles.to_s)
    expect(script.results).to eq(requests: requests, cycles: cycles)
  end

  # Descriptors, threads and memory in KiB, after all connections have ended.
  def state
    eventually("all streams to be closed") { app.ask("Counting::TALLY[:opened] == Counting::TALLY[:closed]") }
    descriptors = eventually("all connections to be closed") { (count = entries("fd")) <= @descriptors && count }
    app.ask("3.times { GC.start }; nil")
    { descriptors: descriptors, threads: entries("task"), memory: app.resident }
  end

  def entries(kind) = Dir.children("/proc/#{app.pid}/#{kind}").size

  it "uses no more descriptors, threads and memory after #{rounds} times #{requests} requests and #{cycles} streams" do
    skip "There is no /proc here" unless app.resident
    skip Script.missing(:node) if Script.missing(:node)

    @descriptors = entries("fd")
    states = Array.new(warm_up + rounds) do
      client(requests, cycles)
      state
    end
    memory = states.map { |state| state[:memory] }
    RSpec.configuration.reporter.message("    KiB of memory after each round: #{memory.join(", ")}")
    before, after = states.values_at(warm_up - 1, -1)
    expect(after).to include(before.slice(:descriptors, :threads))
    # The server gives memory back some time after a burst, so measurements vary.
    expect(memory.last(3).min).to be <= memory.first(3).min + tolerance
    total = { requests: requests, opened: cycles, closed: cycles }.transform_values { |each| each * (warm_up + rounds) }
    expect(app.ask("Counting::TALLY")).to eq(total)
  end
end
