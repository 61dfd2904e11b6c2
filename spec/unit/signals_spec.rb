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

  it "hears signals until it gives them back" do
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

  it "leaves in place what came after it" do
    later = []
    with_handler("DEFAULT") do
      signals = install
      trap("USR1") { later << 1 }
      signals.restore
      Process.kill("USR1", Process.pid)
      expect_eventually { later == [1] }
    end
  end

  it "leaves alone, when told so, what is not Ruby's default" do
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

  it "counts what the system does by itself among the defaults" do
    former = trap("WINCH", "SYSTEM_DEFAULT")
    signals = described_class.new(%w[WINCH], only_defaults: true) { |number| heard << number }
    Process.kill("WINCH", Process.pid)
    expect(heard.pop).to eq(Signal.list["WINCH"])
    signals.restore
    expect(trap("WINCH", former)).to eq("SYSTEM_DEFAULT")
  end

  it "is in a forked process as if it were not there" do
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
end

RSpec.describe PushServer::Signals, "in a forked process, of a signal that suspends" do
  it "suspends it, as the system does" do
    former = trap("TTIN", "SYSTEM_DEFAULT")
    signals = described_class.new(%w[TTIN], only_defaults: true) { nil }
    reader, writer = IO.pipe
    child = fork do
      # The kernel suspends no process of an orphaned group, as this one's may be: that of a job without a terminal.
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

  it "carries notes in order" do
    pipe.notify("a")
    pipe.notify("b")
    expect(pipe.wait).to eq("ab")
    expect(pipe.wait(0)).to be_nil
  end

  it "never blocks who notifies: what does not fit into the pipe is dropped" do
    expect(Array.new(70_000) { pipe.notify("x") }.uniq).to eq([nil])
    read = 0
    while (notes = pipe.wait(0))
      read += notes.size
    end
    expect(read).to be_between(1, 69_999)
    pipe.notify("y")
    expect(pipe.wait).to eq("y")
  end

  it "lets go of who waits when it is closed, although a fork has it too" do
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

  it "is silent in a forked process" do
    Process.wait(fork { pipe.notify("x") })
    expect(pipe.wait(0)).to be_nil
  end
end
