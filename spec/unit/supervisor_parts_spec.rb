# frozen_string_literal: true

require_relative "unit_helper"
require "push_server/process/birth"
require "push_server/process/event_loop"
require "push_server/process/supervisor"

RSpec.describe PushServer::Supervisor::Backoff do
  subject(:backoff) { described_class.new }

  it "waits not at all, then 0.1 s, and then twice as long each time, up to 30 s, while children die young" do
    waits = Array.new(12) { backoff.next(1) }

    expect(waits).to eq([0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])
  end

  it "begins anew after a child that has lived for half a minute" do
    4.times { backoff.next(0) }

    expect([backoff.next(31), backoff.next(0)]).to eq([0, 0.1])
  end
end

RSpec.describe PushServer::Supervisor::ProcessNumbers do
  it "gives a number again only after a million others, and not while its process runs" do
    numbers = described_class.new
    first = Array.new(3) { numbers.next([]) }
    late = described_class.new(described_class::LAST - 1)

    expect(first).to eq([1, 2, 3])
    expect(Array.new(3) { late.next([1, 3]) }).to eq([1_048_575, 2, 4])
  end
end

RSpec.describe PushServer::Protocol do
  it "is checked by a child: one that its supervisor does not understand says what to do" do
    message = PushServer::Link::Message.new("boot", { protocol: 0, version: "0.0.1" }, [])

    expect { described_class.check(message) }
      .to raise_error(PushServer::Error, /cannot run under a supervisor of push_server 0.0.1.*use push_server restart/)
    expect(described_class.check(PushServer::Link::Message.new("boot", described_class.fields, []))).to be_nil
  end
end

RSpec.describe PushServer::EventLoop do
  subject(:events) { described_class.new }

  it "goes on after an action that raises, and without a source that somebody has closed" do
    closed, open = Array.new(2) { IO.pipe }
    [closed, open].each { |_, writer| writer.write("x") }
    events.watch(closed.first) { raise "never" }
    events.watch(open.first) { open.first.read_nonblock(1) && raise("broken") }
    events.after(0.01) { events.stop }
    closed.first.close

    expect { events.run }.to output(/broken/).to_stderr
    [*closed, *open].each(&:close)
  end
end

RSpec.describe PushServer::Supervisor::Reaper do
  # Runs the block with a reaper in a process of its own, since it takes the status of any child. Returns what the block returns.
  def with_reaper
    reader, writer = IO.pipe
    pid = Process.fork do
      writer.write(Marshal.dump(yield(described_class.new)))
    ensure
      Process.exit!(0)
    end
    writer.close
    Marshal.load(reader.read) # rubocop:disable Security/MarshalLoad -- from the child
  ensure
    Process.wait(pid)
    [reader, writer].each(&:close)
  end

  # What the reaper tells of a child.
  def told(reaper, pid)
    reaper.expect(pid) { |status| @told = PushServer::ExitStatus.describe(status) }
    eventually("the end of the child") { reaper.reap || @told }
  end

  it "tells the status of a child to whoever expects it" do
    expect(with_reaper { |reaper| told(reaper, Process.fork { Process.exit!(3) }) }).to eq("with status 3")
  end

  it "names the signal that has ended a child" do
    how = with_reaper do |reaper|
      pid = Process.fork { sleep }
      Process.kill("KILL", pid)
      told(reaper, pid)
    end

    expect(how).to eq("by the signal KILL")
  end

  it "tells it also if the pid becomes known later than the end" do
    how = with_reaper do |reaper|
      pid = Process.fork { Process.exit!(4) }
      eventually("no child") do
        reaper.reap
        Process.kill(0, pid) && false
      rescue Errno::ESRCH
        true
      end
      told(reaper, pid)
    end

    expect(how).to eq("with status 4")
  end

  it "says so if nobody knows how a child has ended" do
    expect(PushServer::ExitStatus.describe(nil)).to eq("for an unknown reason")
    expect(PushServer::ExitStatus.describe(described_class::Told.new(nil, 9))).to eq("by the signal KILL")
  end
end

RSpec.describe PushServer::Supervisor::HubKeeper do
  subject(:keeper) { described_class.new(parts, nil) { parts.events.stop } }

  let(:parts) { PushServer::Supervisor::Parts.new(PushServer::Options.new, nil, nil, PushServer::Binder.new) }
  let(:worker) { instance_double(PushServer::Supervisor::WorkerProcess, process: 1, generation: 1, to_s: "worker 1") }
  # What the hub has been told.
  let(:told) { [] }

  # A hub that never ends by itself. `end_hub` says that it has.
  before do
    parts.slots = PushServer::Supervisor::Slots.new
    allow(PushServer::Supervisor::HubProcess).to receive(:new) do |*, &on_event|
      raise Errno::EMFILE if (@refused_hubs = @refused_hubs.to_i - 1) >= 0

      hub = instance_double(PushServer::Supervisor::HubProcess, start: nil, ended?: false, age: 60, to_s: "hub")
      allow(hub).to receive(:tell) { |words, *| told << words }
      @end_hub = -> { on_event.call(hub, :ended, "by the signal KILL") }
      hub
    end
    allow(worker).to receive(:tell) { |words, *| told << words }
  end

  # Has the system refuse a pair of sockets once.
  def refuse_sockets
    refused = false
    allow(PushServer::Lines).to receive(:sockets).and_wrap_original do |original|
      raise Errno::EMFILE unless refused.tap { refused = true }

      original.call
    end
  end

  # Runs the loop until the hub has been told so many lines.
  def expect_told(*lines)
    parts.events.every(0.01) { parts.events.stop if told.size >= lines.size }
    parts.events.after(20) { parts.events.stop }
    parts.events.run
    expect(told).to eq(lines)
  end

  it "starts the next hub later if the system has no descriptor for it" do
    keeper.start
    @refused_hubs = 2

    expect do
      @end_hub.call
      expect_told("first", "recover processes=")
    end.to output(/cannot start the hub: Too many open files.*cannot start the hub: .*started again/m).to_stderr
    expect(parts.slots.totals[:stats]).to include(hub_restarts: 1)
  end

  it "connects a worker later if the system has no descriptor for it" do
    keeper.start
    refuse_sockets

    expect do
      keeper.attach(worker)
      expect_told("first", "worker 1 1", "hub")
    end.to output(/cannot connect worker 1 with the hub/).to_stderr
  end

  it "replaces the hub later if the system has no descriptor for that" do
    keeper.start
    former = keeper.process
    allow(former).to receive(:hand_over) { told << "handover" }
    refuse_sockets

    expect do
      keeper.replace
      expect_told("first", "recover processes= handover", "handover")
    end.to output(/the hub is not replaced yet/).to_stderr
  end
end

RSpec.describe PushServer::Supervisor::Workers do
  subject(:workers) { described_class.new(parts, generations, watcher) }

  let(:parts) { PushServer::Supervisor::Parts.new(PushServer::Options.new({ workers: 1 }), nil, nil, PushServer::Binder.new) }
  let(:generation) { instance_double(PushServer::Supervisor::Generations::Generation, number: 1) }
  let(:generations) { instance_double(PushServer::Supervisor::Generations) }
  let(:watcher) { double("watcher", workers_changed: nil, load_failed: false) }

  before do
    parts.adopts = true
    parts.hub = instance_double(PushServer::Supervisor::HubKeeper, attach: nil, detach: nil)
    allow(parts).to receive(:settings).and_return({})
    allow(generations).to receive(:with_current) { |&block| block.call(generation, nil) }
    allow(generation).to receive(:start) { parts.events.stop }
  end

  it "start a worker later if the system has no descriptor for it" do
    refused = false
    allow(PushServer::Link).to receive(:pair).and_wrap_original do |original|
      raise Errno::EMFILE unless refused.tap { refused = true }

      original.call
    end
    parts.events.after(20) { parts.events.stop }

    expect do
      workers.fill
      parts.events.run
    end.to output(/cannot start worker 1: Too many open files.*started again/).to_stderr
    expect(workers.all.size).to eq(1)
  end
end

RSpec.describe PushServer::Supervisor::WorkerProcess do
  it "has, beyond the time for a drain, the time in which the hub numbers what was published, until it is killed" do
    options = PushServer::Options.new({ publish_timeout: 30, worker_boot_timeout: 7 }, env: {})
    parts = PushServer::Supervisor::Parts.new(options, nil, nil, PushServer::Binder.new)
    waits = []
    allow(parts.events).to receive(:after) { |seconds| waits << seconds }
    described_class.new(parts, 1, 1, 1) { nil }.drain("stop", 25)

    expect(waits).to match([7, be > 25 + 30])
  end
end

RSpec.describe PushServer::Supervisor::Generations do
  subject(:generations) { described_class.new(parts) }

  let(:parts) { PushServer::Supervisor::Parts.new(options, nil, command, PushServer::Binder.new) }
  let(:options) { PushServer::Options.new({}, env: {}) }
  let(:command) { PushServer::OriginalCommand.new([], {}, folder: "/app") }

  # The leaders by their numbers. `@loads` has what tells that one has loaded the app.
  let(:leaders) { {} }

  before do
    parts.slots = PushServer::Supervisor::Slots.new
    @loads = {}
    allow(PushServer::Supervisor::LeaderProcess).to receive(:new) do |_, number, *, &on_load|
      @loads[number] = on_load
      leaders[number] = instance_double(PushServer::Supervisor::LeaderProcess, start: nil, boot: nil, usable?: true, stop: nil)
    end
  end

  it "keep the newer load of the app if an older one ends after it" do
    waiting = []
    generations.with_current { |generation, _| waiting << generation.number }
    generations.load { |generation, _| generations.use(generation) }
    @loads[2].call(nil)
    @loads[1].call(nil)

    expect([generations.current.number, waiting]).to eq([2, [2]])
    expect(leaders[1]).to have_received(:stop)
    expect(leaders[2]).not_to have_received(:stop)
  end
end

RSpec.describe PushServer::Birth do
  subject(:birth) { described_class.new(true) }

  it "says so if the process that is to fork is killed before" do
    allow(PushServer::Forking).to receive(:fork) { Process.fork { Process.exit!(1) } }

    expect { birth.fork { nil } }.to raise_error(described_class::Failed, /was killed/)
  end

  it "has forked also if the app has taken the status of the process that did it" do
    allow(Process).to receive(:wait).and_wrap_original do |wait, pid|
      wait.call(pid)
      raise Errno::ECHILD
    end

    expect(birth.fork { Process.exit!(0) }).to be_a(Integer)
  end
end
