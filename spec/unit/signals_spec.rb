# frozen_string_literal: true

require "timeout"
require_relative "unit_helper"
require_relative "../support/deadline"

RSpec.describe PushServer::Signals do
  let!(:heard) { Thread::Queue.new }

  def install(**how) = described_class.new(%w[USR1], **how) { |number| heard << number }

  def with_handler(handler)
    former = trap("USR1", handler)
    yield
  ensure
    trap("USR1", former)
  end

  it "handles signals until it restores the former handlers" do
    before = []
    with_handler(proc { before << 1 }) do
      signals = install
      Process.kill("USR1", Process.pid)
      expect(heard.pop).to eq(Signal.list["USR1"])
      2.times { signals.restore }
      Process.kill("USR1", Process.pid)
      eventually { before == [1] }
    end
  end

  it "leaves a later handler in place" do
    later = []
    with_handler("DEFAULT") do
      signals = install
      trap("USR1") { later << 1 }
      signals.restore
      Process.kill("USR1", Process.pid)
      expect_eventually { later == [1] }
    end
  end

  it "leaves alone handlers that are not Ruby's default, with only_defaults" do
    mine = []
    with_handler(proc { mine << 1 }) do
      install(only_defaults: true)
      Process.kill("USR1", Process.pid)
      eventually { mine == [1] }
      expect(heard).to be_empty
    end
    with_handler("DEFAULT") do
      signals = install(only_defaults: true)
      Process.kill("USR1", Process.pid)
      heard.pop
      signals.restore
    end
  end

  it "takes the system's default as a default, too" do
    former = trap("WINCH", "SYSTEM_DEFAULT")
    signals = described_class.new(%w[WINCH], only_defaults: true) { |number| heard << number }
    Process.kill("WINCH", Process.pid)
    expect(heard.pop).to eq(Signal.list["WINCH"])
    signals.restore
    expect(trap("WINCH", former)).to eq("SYSTEM_DEFAULT")
  end

  it "calls the former handler in a forked process" do
    [["DEFAULT", "USR1"], [proc { exit! 7 }, 7]].each do |former, ending|
      with_handler(former) do
        signals = install
        child = fork do
          Process.kill("USR1", Process.pid)
          sleep
        end
        status = Process.wait2(child).last
        expect(status.signaled? ? Signal.signame(status.termsig) : status.exitstatus).to eq(ending)
        signals.restore
      end
    end
    expect(heard).to be_empty
  end

  # A signal to the whole process group may come before such a process has its own handlers.
  it "does nothing in a process that the server has forked" do
    with_handler("DEFAULT") do
      signals = install
      child = PushServer.const_get(:Forking).fork do
        Process.kill("USR1", Process.pid)
        exit! 7
      end
      expect(Process.wait2(child).last.exitstatus).to eq(7)
      expect(heard).to be_empty
      Process.kill("USR1", Process.pid)
      heard.pop
      signals.restore
    end
  end
end

RSpec.describe PushServer::Signals, "in a forked process, for a signal that suspends" do
  it "suspends the process, as the system does" do
    former = trap("TTIN", "SYSTEM_DEFAULT")
    signals = described_class.new(%w[TTIN], only_defaults: true) { nil }
    reader, writer = IO.pipe
    child = fork do
      # The kernel suspends no process of an orphaned process group. Without a terminal, the group of the specs is one.
      Process.setpgrp
      writer.write("ready")
      sleep
    end
    reader.readpartial(5)
    Process.kill("TTIN", child)
    expect(Timeout.timeout(Deadline::PATIENCE) { Process.wait2(child, Process::WUNTRACED).last }).to be_stopped
  ensure
    signals&.restore
    trap("TTIN", former || "DEFAULT")
    Process.kill("KILL", child)
    Process.wait(child)
  end
end

RSpec.describe PushServer::SelfPipe do
  subject(:pipe) { described_class.new }

  it "carries events in order" do
    pipe.notify("a")
    pipe.notify("b")
    expect(pipe.wait).to eq("ab")
    expect(pipe.wait(0)).to be_nil
  end

  it "never blocks: events that do not fit into the pipe are dropped" do
    expect(Array.new(70_000) { pipe.notify("x") }.uniq).to eq([nil])
    read = 0
    while (events = pipe.wait(0))
      read += events.size
    end
    expect(read).to be_between(1, 69_999)
    pipe.notify("y")
    expect(pipe.wait).to eq("y")
  end

  it "ends a wait when it is closed, although a forked process has the pipe, too" do
    child = fork { sleep }
    waiting = Thread.new { pipe.wait }
    eventually { waiting.stop? }
    pipe.close
    expect(waiting.value).to be_nil
    expect(pipe.notify("x")).to be_nil
  ensure
    Process.kill("KILL", child)
    Process.wait(child)
  end

  it "does nothing in a forked process" do
    Process.wait(fork { pipe.notify("x") })
    expect(pipe.wait(0)).to be_nil
  end
end
