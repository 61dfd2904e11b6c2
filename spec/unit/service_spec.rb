# frozen_string_literal: true

require_relative "unit_helper"

RSpec.describe PushServer::Service do
  before { use_fake_native_server }

  after do
    @service&.stop(:forced)
    listener.close
    FakeNativeServer.refusal = nil
  end

  let(:events) { Thread::Queue.new }
  let(:listener) { PushServer::Listener.tcp(Socket.tcp_server_sockets("127.0.0.1", 0).first) }

  def service(**options)
    @service = described_class.new(->(_env) { [200, {}, []] }, PushServer::Options.new({ threads: 2, **options }, env: {}))
  end

  def started(**options) = service(**options).tap { |made| made.start { |event| events << event } }

  def native = FakeNativeServer.last

  it "serves a duplicate of a listener's socket, and leaves the socket itself to its owner" do
    started.listen(listener)
    expect(native.listeners[0].last).to include("SERVER_PORT" => listener.port.to_s)
    listener.close
    expect(Socket.tcp("127.0.0.1", listener.port, &:closed?)).to be(false)
  end

  it "retires one of its listeners, by the id that the native server has given to it" do
    others = Array.new(2) { PushServer::Listener.tcp(Socket.tcp_server_sockets("127.0.0.1", 0).first) }
    service.listen(others.first)
    @service.listen(listener)
    @service.start { nil }
    @service.listen(others.last)
    3.times { @service.retire(listener) }
    expect(native.story.grep(Array)).to eq([[:retire, 1]])
    expect(listener.socket).not_to be_closed
  ensure
    others.each(&:close)
  end

  it "installs no signal handlers and prints nothing" do
    handlers = -> { %w[INT TERM QUIT HUP].map { |name| trap(name, "IGNORE").tap { |handler| trap(name, handler) } } }
    before = handlers.call
    expect { started.drain(0) }.not_to output.to_stdout_from_any_process
    expect(handlers.call).to eq(before)
  end

  it "tells when a drain has ended" do
    started.drain(3)
    expect(events.pop).to eq(:drained)
    expect(native.story).to include([:drain, 3])
    expect(@service.stop(:graceful)).to be(true)
    expect(native.story).to include(:stop)
  end

  it "says that another server follows when it drains for a restart" do
    started.drain(3, restarts: true)
    expect(events.pop).to eq(:drained)
    expect(native.story).to include([:drain, 3, :restarts])
  end

  it "tells when threads are to be respawned, and respawns them when it is told" do
    started
    allow(PushServer).to receive(:log)
    old = eventually { threads if threads.size == 2 && threads.all?(&:stop?) }
    native.work_to_do << -> { Thread.current.kill }
    expect(events.pop).to eq(:threads_changed)
    eventually { threads.size == 1 }
    @service.respawn
    expect((eventually { threads if threads.size == 2 } - old).size).to eq(1)
  end

  it "is the one whose statistics the process has" do
    started
    expect(PushServer.stats).to eq(connections: 0)
  end

  it "raises an option's error when the native server refuses an option" do
    FakeNativeServer.refusal = "max_queue must be at least 1"
    expect { service }.to raise_error(PushServer::OptionError, "max_queue must be at least 1")
  end

  def threads = Thread.list.select { |thread| thread.name.to_s.start_with?("push_server thread") }
end
