# frozen_string_literal: true

require_relative "unit_helper"
require "push_server/process/worker"

RSpec.describe PushServer::Worker do
  # The supervisor's end of the worker's link.
  attr_reader :supervisor

  let(:service) { instance_double(PushServer::Service, stats: { poll_sessions: 0 }, respawn_delay: nil, stop: true) }

  before do
    allow(service).to receive(:start) { |&on_event| @on_event = on_event }
    allow(service).to receive(:drain) { @on_event.call(:drained) }
    allow(PushServer::Service).to receive(:new).and_return(service)
    allow(PushServer::RoleSignals).to receive(:handle)
    allow(PushServer.const_get(:NativeLifeline)).to receive(:start)
    allow(PushServer::Outside).to receive(:publish_to_hub)
    allow(PushServer.const_get(:Channels)).to receive_messages(use_hub: nil, await_hub: true, settle: true)
    allow(Process).to receive(:setproctitle)
    allow(PushServer).to receive_messages(:log_name= => nil, :log_level= => nil)
    # Also the end of this process is the end of the link.
    allow(Process).to receive(:exit!) { @link.close }
  end

  # Runs a worker. Yields when it has what it needs to boot.
  def run_worker
    @supervisor, @link = PushServer::Link.pair
    worker = Thread.new { described_class.new(@link, PushServer::Hooks::NONE) { ->(_) { [200, {}, []] } }.run }
    lifeline = IO.pipe
    supervisor.send(:boot, fds: [lifeline.first], number: 1, process: 1, generation: 1, tag: "spec", listeners: [],
                           options: PushServer::Options.new({}, env: {}).dump, **PushServer::Protocol.fields)
    yield
  ensure
    supervisor.close
    worker.join(10)
    Thread.list.find { |thread| thread.name == "push_server link" }&.join(10)
    [@link, *lifeline].each(&:close)
  end

  # Waits until the worker has sent this.
  def expect_sent(kind)
    message = nil
    loop { break if (message = supervisor.receive(10)).nil? || message == :eof || message.kind == kind }
    expect(message).to be_a(PushServer::Link::Message), "no #{kind.inspect}, but #{message.inspect}"
  end

  def order(kind, **fields) = supervisor.send(kind, **fields)

  it "drains if it is told so as soon as its service accepts connections" do
    told = Thread::Queue.new
    allow(service).to receive(:start) do |&on_event|
      @on_event = on_event
      order(:drain, reason: "restart", seconds: 1)
      order(:ping)
      expect_sent("pong") # It has read both.
    ensure
      told << true
    end

    run_worker do
      told.pop
      expect_sent("drained")
    end
    expect(service).to have_received(:drain)
    expect(service).to have_received(:stop).with(:graceful)
  end

  it "goes on after an order that fails" do
    allow(PushServer::Backtraces).to receive(:log).and_raise(NoMethodError, "broken")

    expect do
      run_worker do
        expect_sent("booted")
        order(:backtraces)
        order(:ping)
        expect_sent("pong")
        order(:drain, reason: "stop", seconds: 1)
        expect_sent("drained")
      end
    end.to output(/going on after an error: NoMethodError: broken/).to_stderr
  end
end
