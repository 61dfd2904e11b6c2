# frozen_string_literal: true

require "stringio"
require_relative "unit_helper"

RSpec.describe PushServer::Launcher do
  before { use_fake_native_server }

  after do
    @launcher&.stop_now
    @launcher&.wait
    FakeNativeServer.refusal = nil
  end

  let(:out) { StringIO.new }
  let(:app) { ->(_env) { [200, {}, []] } }

  def launcher(**options)
    @launcher = described_class.new(app, { bind: "tcp://127.0.0.1:0", threads: 2, **options }, out: out)
  end

  def reactor = FakeNativeServer.last

  def workers = Thread.list.select { |thread| thread.name.to_s.start_with?("push_server worker") }

  describe "#start" do
    it "says what runs and where" do
      launcher(environment: "test").start
      expect(out.string.lines.map(&:chomp))
        .to match([/\Apush_server #{PushServer::VERSION} \(ruby #{RUBY_VERSION}, rack #{Rack.release}\)\z/,
                   "* 2 threads, test", %r{\A\* Listening on http://127.0.0.1:\d+\z}, "Ctrl-C to stop"])
    end

    it "says nothing when quiet" do
      launcher(log_level: "warn").start
      expect(out.string).to be_empty
    ensure
      PushServer.log_level = :info
    end

    it "gives the reactor app, settings, listeners with their env, and workers" do
      launcher(max_queue: 7, environment: "staging").start
      expect(reactor.app).to equal(app)
      expect(reactor.settings).to include(max_queue: 7, threads: 2)
      socket, template = reactor.listeners.first
      port = socket.local_address.ip_port
      expect(template).to be_frozen
      expect(template).to include("SERVER_NAME" => "127.0.0.1", "SERVER_PORT" => port.to_s, "rack.url_scheme" => "http",
                                  "rack.multithread" => true, "rack.multiprocess" => false, "rack.run_once" => false)
      expect(@launcher.urls).to eq(["http://127.0.0.1:#{port}"])
      eventually { workers.size == 2 && reactor.told.size == 3 }
      expect(reactor.story).to eq(%i[start work work])
    end

    it "leaves no socket of its own open: when the reactor closes its, connections are refused" do
      launcher.start
      address = reactor.listeners.first.first.local_address
      address.connect(&:close)
      reactor.stop
      expect { address.connect(&:close) }.to raise_error(Errno::ECONNREFUSED)
    end

    it "leaves nothing behind when it fails" do
      taken = TCPServer.new("127.0.0.1", 0)
      expect { launcher(bind: "tcp://127.0.0.1:#{taken.local_address.ip_port}").start }
        .to raise_error(PushServer::BindError)
      expect(reactor.story).to eq([:stop])
      expect(@launcher).not_to be_running
      expect(workers).to be_empty
    ensure
      taken.close
    end

    it "passes on what the reactor refuses" do
      FakeNativeServer.refusal = "max_queue must be at least 1"
      expect { launcher.start }.to raise_error(PushServer::OptionError, "max_queue must be at least 1")
    end

    it "says what to do when the system has no more threads" do
      allow(Thread).to receive(:new).and_raise(ThreadError, "can't create Thread: Resource temporarily unavailable")
      expect { launcher.start }.to raise_error(PushServer::Error, /\Acannot start 2 threads: can't create Thread.+--threads/)
      expect(reactor.story).to end_with(:stop)
    end

    it "refuses an app that is none" do
      expect { described_class.new(nil) }.to raise_error(PushServer::OptionError, /no method call/)
    end

    it "serves once" do
      launcher.start
      expect { @launcher.start }.to raise_error(PushServer::Error, /started already/)
    end
  end

  describe "stopping" do
    it "drains, stops the reactor, and ends the workers" do
      launcher(drain_timeout: 3).start
      eventually { reactor.told.size == 3 }
      reactor.story
      @launcher.stop
      expect(@launcher.wait).to be(true)
      expect(reactor.story).to eq([[:drain, 3], :stop])
      expect([@launcher.ending, @launcher.running?, workers]).to eq([:graceful, false, []])
      expect(out.string).to include("* Stopping: up to 3 s", "* Stopped\n")
    end

    it "drains once, however often it is asked" do
      launcher.start
      3.times { @launcher.stop }
      @launcher.wait
      @launcher.stop
      expect(reactor.story.count { |told| told.is_a?(Array) }).to eq(1)
    end

    it "is not what HUP asks for: that opens the logs anew" do
      launcher.start
      eventually { reactor.told.size == 3 }
      reactor.story
      @launcher.reopen_logs
      eventually { reactor.story == [:reopen_logs] }
      expect(@launcher).to be_running
    end

    it "can be asked before it has started" do
      launcher
      @launcher.stop
      @launcher.start
      @launcher.wait
      expect(@launcher.ending).to eq(:graceful)
    end

    it "does not wait for the drain when it is to stop now" do
      launcher.start
      reactor.hold_drain
      @launcher.stop
      eventually { reactor.told.size == 4 }
      @launcher.stop_now
      @launcher.wait
      expect([@launcher.ending, workers]).to eq([:forced, []])
    end

    it "takes the second signal as that wish, and the first not" do
      launcher.start
      reactor.hold_drain
      @launcher.signal
      eventually { reactor.told.size == 4 }
      expect(@launcher).to be_running
      @launcher.signal
      @launcher.wait
      expect([@launcher.ending, @launcher.signalled?]).to eq([:forced, true])
    end

    it "drains on a first signal after a stop" do
      launcher.start
      reactor.hold_drain
      @launcher.stop
      @launcher.signal
      reactor.release_drain
      @launcher.wait
      expect(@launcher.ending).to eq(:graceful)
    end

    it "kills workers that do not come back" do
      launcher.start
      reactor.work_to_do << -> { sleep }
      eventually { reactor.work_to_do.empty? }
      @launcher.stop
      @launcher.wait
      expect([@launcher.ending, @launcher.stuck?, workers]).to eq([:graceful, false, []])
    end

    it "waits no longer than it is told" do
      launcher.start
      expect(@launcher.wait(0.01)).to be(false)
    end
  end

  describe "its workers" do
    it "are replaced when the app kills one or lets an exception through" do
      launcher.start
      old = eventually { workers if workers.size == 2 && workers.all?(&:stop?) }
      allow(PushServer).to receive(:log)
      reactor.work_to_do << -> { Thread.current.kill } << -> { raise "let through" }
      new = eventually { workers if workers.size == 2 && (workers & old).empty? }
      expect(new.map(&:name)).to match_array(old.map(&:name))
      expect(PushServer).to have_received(:log).with(:error, /let through/)
    end

    it "do not end the process when the app exits in one" do
      launcher.start
      allow(PushServer).to receive(:log)
      old = workers
      reactor.work_to_do << -> { exit 3 }
      eventually { workers.size == 2 && workers != old }
      expect(PushServer).to have_received(:log).with(:error, /SystemExit/)
    end

    it "are missing while there are no threads, which is said once, and come back when there are" do
      launcher.start
      eventually { reactor.told.size == 3 }
      reactor.story
      logged = Thread::Queue.new
      allow(PushServer).to receive(:log) { |_, line| logged << line }
      attempts = Thread::Queue.new
      allow(Thread).to receive(:new) do
        attempts << true
        raise ThreadError, "none left"
      end
      reactor.work_to_do << -> { Thread.current.kill } << -> { Thread.current.kill }
      eventually { workers.empty? && attempts.size >= 4 }
      allow(Thread).to receive(:new).and_call_original
      eventually { workers.size == 2 }
      lines = Array.new(logged.size) { logged.pop }.grep(/cannot start|again/)
      expect(lines).to match([/cannot start a worker: none left. Going on with [01] and /, /all workers run again/])
      expect(reactor.story).to include([:workers_left, 0], [:workers_left, nil])
    end

    it "know that they are" do
      launcher.start
      answers = Thread::Queue.new
      reactor.work_to_do << -> { answers << PushServer::WorkerPool.inside? }
      expect([answers.pop, PushServer::WorkerPool.inside?]).to eq([true, false])
    end
  end

  describe "#run" do
    it "serves until it is stopped" do
      launcher
      run = Thread.new { @launcher.run }
      eventually { @launcher.running? }
      @launcher.stop
      expect(run.value).to eq(:graceful)
    end

    it "takes the signals only in the main thread" do
      before = trap("TERM", "DEFAULT")
      trap("TERM", before)
      launcher
      run = Thread.new { @launcher.run }
      eventually { @launcher.running? }
      during = trap("TERM", before)
      @launcher.stop
      run.join
      expect(during).to eq(before)
    end

    it "drains when an exception ends it" do
      launcher
      run = Thread.new { @launcher.run }
      eventually { @launcher.running? && reactor.told.size == 3 }
      run.report_on_exception = false
      run.raise("enough")
      expect { run.value }.to raise_error("enough")
      expect(@launcher.ending).to eq(:graceful)
    end
  end

  it "does nothing in a forked process" do
    launcher.start
    eventually { reactor.told.size == 3 }
    reactor.story
    reader, writer = IO.pipe
    Process.wait(fork do
      @launcher.stop
      @launcher.stop_now
      writer.write([@launcher.wait, @launcher.running?].inspect)
      exit!
    end)
    writer.close
    expect(reader.read).to eq("[true, false]")
    expect(@launcher.wait(0.05)).to be(false)
    expect(reactor.story).to be_empty
  end
end
