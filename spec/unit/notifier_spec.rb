# frozen_string_literal: true

require "socket"
require "tmpdir"
require_relative "unit_helper"
require "push_server/process/notifier"

RSpec.describe PushServer::Notifier do
  around { |example| Dir.mktmpdir { |dir| (@dir = dir) && example.run } }

  def socket(path)
    @socket = Socket.new(:UNIX, :DGRAM).tap { |made| made.bind(Addrinfo.unix(path)) }
  end

  after { @socket&.close }

  def told = @socket.recv_nonblock(4096).split("\n")

  %w[path abstract].each do |kind|
    it "tells what the server does over a socket with a name of the kind: #{kind}" do
      name = kind == "path" ? "#{@dir}/notify" : "@push_server-spec-#{Process.pid}"
      socket(name.sub(/\A@/, "\0"))
      notifier = described_class.new("NOTIFY_SOCKET" => name)
      expect(notifier).to be_on
      notifier.ready("Serving")
      expect(told).to eq(["READY=1", "MAINPID=#{Process.pid}", "STATUS=Serving"])
      notifier.reloading("Restarting")
      expect(told).to match(["RELOADING=1", /\AMONOTONIC_USEC=\d{5,}\z/, "STATUS=Restarting"])
      notifier.status("Restarting")
      notifier.status("Busy\nreally")
      expect(told).to eq(["STATUS=Busy really"])
      notifier.stopping("Stopping")
      expect(told).to eq(["STOPPING=1", "STATUS=Stopping"])
      notifier.beat
      expect(told).to eq(["WATCHDOG=1"])
    rescue Errno::EINVAL, Errno::ENOENT
      skip "this system has no abstract sockets"
    end
  end

  it "takes the variables out of the environment, and has them for a program that takes its place" do
    env = { "NOTIFY_SOCKET" => "#{@dir}/n", "WATCHDOG_USEC" => "3000000", "WATCHDOG_PID" => Process.pid.to_s, "A" => "b" }
    notifier = described_class.take(env)
    expect(env).to eq("A" => "b")
    expect(notifier.environment.keys).to contain_exactly("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
  end

  it "beats at half of the watchdog's time, if the watchdog is this process's" do
    with = ->(**env) { described_class.new({ "NOTIFY_SOCKET" => "#{@dir}/n" }.merge(env.transform_keys(&:to_s))).interval }
    expect(with.call(WATCHDOG_USEC: "3000000")).to eq(1.5)
    expect(with.call(WATCHDOG_USEC: "3000000", WATCHDOG_PID: Process.pid.to_s)).to eq(1.5)
    expect(with.call(WATCHDOG_USEC: "3000000", WATCHDOG_PID: "1")).to be_nil
    expect([with.call(WATCHDOG_USEC: "0"), with.call(WATCHDOG_USEC: "x"), with.call]).to eq([nil, nil, nil])
    expect(described_class.new("WATCHDOG_USEC" => "3000000").interval).to be_nil
  end

  it "does nothing without the variable" do
    notifier = described_class.new({})
    expect(notifier).not_to be_on
    expect { notifier.ready("Serving") }.not_to output.to_stderr_from_any_process
  end

  it "says once that nobody reads, and never raises or waits" do
    allow(PushServer).to receive(:log)
    notifier = described_class.new("NOTIFY_SOCKET" => "#{@dir}/nobody")
    3.times { notifier.beat }
    expect(PushServer).to have_received(:log).with(:warn, /cannot tell systemd .*NOTIFY_SOCKET/).once
    socket("#{@dir}/full")
    full = described_class.new("NOTIFY_SOCKET" => "#{@dir}/full")
    5000.times { full.beat }
    described_class.new("NOTIFY_SOCKET" => "vsock:2:3").ready("x")
    described_class.new("NOTIFY_SOCKET" => "/#{"x" * 200}").ready("x")
    expect(PushServer).to have_received(:log).with(:warn, /NOTIFY_SOCKET/).at_least(3).times
  end

  it "does not speak for its parent in a forked process" do
    socket("#{@dir}/n")
    notifier = described_class.new("NOTIFY_SOCKET" => "#{@dir}/n")
    Process.wait(fork { notifier.beat })
    expect { told }.to raise_error(IO::WaitReadable)
  end
end
