# frozen_string_literal: true

require "stringio"
require "tmpdir"
require_relative "unit_helper"

RSpec.describe PushServer::Single do
  before { use_fake_native_server }

  after do
    @server&.stop_now
    @server&.wait
    FakeNativeServer.refusal = nil
  end

  let(:out) { StringIO.new }
  let(:app) { ->(_env) { [200, {}, []] } }

  def server(**options)
    @server = described_class.new(app, { bind: "tcp://127.0.0.1:0", threads: 2, **options }, out: out)
  end

  def native = FakeNativeServer.last

  def threads = Thread.list.select { |thread| thread.name.to_s.start_with?("push_server thread") }

  describe "#start" do
    it "prints what runs, and where" do
      server(environment: "test").start
      expect(out.string.lines.map(&:chomp))
        .to match([/\Apush_server #{PushServer::VERSION} \(ruby #{RUBY_VERSION}, rack #{Rack.release}\)\z/,
                   "* 2 threads, test", %r{\A\* Listening on http://127.0.0.1:\d+\z}, "Ctrl-C to stop"])
    end

    it "prints nothing at a higher log level" do
      server(log_level: "warn").start
      expect(out.string).to be_empty
    ensure
      PushServer.log_level = :info
    end

    it "gives the native server app, settings, listeners with their env, and threads" do
      server(max_queue: 7, environment: "staging", publish_socket: nil).start
      expect(native.app).to equal(app)
      expect(native.settings).to include(max_queue: 7, threads: 2)
      socket, template = native.listeners[0]
      port = socket.local_address.ip_port
      expect(template).to be_frozen
      expect(template).to include("SERVER_NAME" => "127.0.0.1", "SERVER_PORT" => port.to_s, "rack.url_scheme" => "http",
                                  "rack.multithread" => true, "rack.multiprocess" => false, "rack.run_once" => false)
      expect(@server.urls).to eq(["http://127.0.0.1:#{port}"])
      eventually { threads.size == 2 && native.told.size == 3 }
      expect(native.story).to eq(%i[start work work])
    end

    it "leaves none of its sockets open when it stops: when the native server closes its own, connections are refused" do
      server.start
      address = native.listeners[0].first.local_address
      address.connect(&:close)
      native.hold_drain
      @server.stop
      eventually { @server.urls.empty? }
      native.stop
      expect { address.connect(&:close) }.to raise_error(Errno::ECONNREFUSED)
    end

    it "leaves nothing behind when it fails" do
      taken = TCPServer.new("127.0.0.1", 0)
      expect { server(bind: "tcp://127.0.0.1:#{taken.local_address.ip_port}").start }
        .to raise_error(PushServer::BindError)
      expect(native.story).to eq([:stop])
      expect(@server).not_to be_running
      expect(threads).to be_empty
    ensure
      taken.close
    end

    it "raises an option's error when the native server refuses an option" do
      FakeNativeServer.refusal = "max_queue must be at least 1"
      expect { server.start }.to raise_error(PushServer::OptionError, "max_queue must be at least 1")
    end

    it "says what to do when the system has no more threads" do
      allow(Thread).to receive(:new).and_raise(ThreadError, "can't create Thread: Resource temporarily unavailable")
      expect { server.start }.to raise_error(PushServer::Error, /\Acannot start 2 threads: can't create Thread.+--threads/)
      expect(native.story).to end_with(:stop)
    end

    it "refuses an app that cannot be called" do
      expect { described_class.new(nil) }.to raise_error(PushServer::OptionError, /no method call/)
    end

    it "serves once" do
      server.start
      expect { @server.start }.to raise_error(PushServer::Error, /started already/)
    end
  end

  describe "stopping" do
    it "drains, stops the native server, and ends the threads" do
      server(drain_timeout: 3).start
      eventually { native.told.size == 3 }
      native.story
      @server.stop
      expect(@server.wait).to be(true)
      expect(native.story).to eq([[:drain, 3], :stop])
      expect([@server.ending, @server.running?, threads]).to eq([:graceful, false, []])
      expect(out.string).to include("* Stopping: up to 3 s", "* Stopped\n")
    end

    it "drains once, even if it is asked several times" do
      server.start
      3.times { @server.stop }
      @server.wait
      @server.stop
      expect(native.story.count { |told| told.is_a?(Array) }).to eq(1)
    end

    it "does not begin when the logs are opened anew" do
      server.start
      eventually { native.told.size == 3 }
      native.story
      @server.reopen_logs
      eventually { native.story == [:reopen_logs] }
      expect(@server).to be_running
    end

    it "can be asked before it has started" do
      server
      @server.stop
      @server.start
      @server.wait
      expect(@server.ending).to eq(:graceful)
    end

    it "does not wait for the drain after stop_now" do
      server.start
      native.hold_drain
      @server.stop
      eventually { native.told.size == 4 }
      @server.stop_now
      @server.wait
      expect([@server.ending, threads]).to eq([:forced, []])
    end

    it "does not wait for the drain after a second signal" do
      server.start
      native.hold_drain
      @server.signal
      eventually { native.told.size == 4 }
      expect(@server).to be_running
      @server.signal
      @server.wait
      expect([@server.ending, @server.signalled?]).to eq([:forced, true])
    end

    it "drains on a first signal after a stop" do
      server.start
      native.hold_drain
      @server.stop
      @server.signal
      native.release_drain
      @server.wait
      expect(@server.ending).to eq(:graceful)
    end

    it "kills threads that do not return" do
      server.start
      native.work_to_do << -> { sleep }
      eventually { native.work_to_do.empty? }
      @server.stop
      @server.wait
      expect([@server.ending, @server.stuck?, threads]).to eq([:graceful, false, []])
    end

    it "is waited for no longer than the timeout" do
      server.start
      expect(@server.wait(0.01)).to be(false)
    end
  end

  describe "its endpoints" do
    around { |example| Dir.mktmpdir { |dir| (@dir = dir) && example.run } }

    def path = "#{@dir}/s"

    it "can be added while it serves, and retired" do
      server.start
      url = @server.listen("tcp://127.0.0.1:0")
      expect(url).to match(%r{\Atcp://127\.0\.0\.1:[1-9]\d*\z})
      expect(@server.urls.last).to eq(url.sub("tcp", "http"))
      expect(native.listeners.size).to eq(2)
      expect(out.string).to include("* Listening on #{@server.urls.last}\n")
      expect([@server.retire(url), @server.retire(url), @server.urls.size]).to eq([true, false, 1])
      expect(native.story).to include([:retire, 1])
      expect(out.string).to include("* No longer listening on #{url.sub("tcp", "http")}\n")
    end

    it "have the option's port if they name none" do
      server(port: Socket.tcp_server_sockets("127.0.0.1", 0).first.then { |free| free.local_address.ip_port.tap { free.close } }).start
      expect(@server.listen("tcp://127.0.0.1")).to eq("tcp://127.0.0.1:#{@server.options[:port]}")
    end

    it "lose their sockets' files when it stops, not only when it has stopped" do
      server(bind: "unix://#{path}").start
      expect(File.socket?(path)).to be(true)
      native.hold_drain
      @server.stop
      eventually { !File.exist?(path) }
      expect(@server).to be_running
      native.release_drain
      @server.wait
      expect(@server.urls).to eq([])
    end

    it "lose them also when it stops at once" do
      server(bind: "unix://#{path}").start
      @server.stop_now
      @server.wait
      expect(File.exist?(path)).to be(false)
    end

    it "lose them also when it does not start" do
      taken = UNIXServer.new("#{path}2")
      expect { server(bind: ["unix://#{path}", "unix://#{path}2"]).start }.to raise_error(PushServer::BindError, /in use/)
      expect(Dir.children(@dir)).to eq(["s2"])
      taken.close
    end

    it "cannot be added before it serves, nor while it stops: that leaves nothing behind" do
      refused = [PushServer::Error, "the server is not running, so it cannot listen on another endpoint"]
      expect { server.listen("unix://#{path}") }.to raise_error(*refused)
      @server.start
      native.hold_drain
      @server.stop
      eventually { @server.urls.empty? }
      expect { @server.listen("unix://#{path}") }.to raise_error(*refused)
      expect(Dir.children(@dir)).to eq([])
    end

    it "are closed when the native server refuses them" do
      server.start
      allow(native).to receive(:listen).and_raise(IOError, "no descriptors")
      expect { @server.listen("unix://#{path}") }.to raise_error(PushServer::Error, "cannot listen on unix://#{path}: no descriptors")
      expect([Dir.children(@dir), @server.urls.size]).to eq([[], 1])
    end
  end

  describe "its threads" do
    # Has each of the two threads take one of these tasks: neither begins before both are taken, or the thread that takes the place of
    # the first would take the second.
    def give(*tasks)
      taken = Thread::Queue.new
      go = Thread::Queue.new
      tasks.each do |task|
        native.work_to_do << lambda do
          taken << true
          go.pop
          task.call
        end
      end
      eventually("both tasks to be taken") { taken.size == tasks.size }
      tasks.each { go << true }
    end

    it "are replaced when the app kills one or does not rescue an exception" do
      server.start
      old = eventually { threads if threads.size == 2 }
      allow(PushServer).to receive(:log)
      give(-> { Thread.current.kill }, -> { raise "let through" })
      new = eventually { threads if threads.size == 2 && (threads & old).empty? }
      expect(new.map(&:name)).to match_array(old.map(&:name))
      expect(PushServer).to have_received(:log).with(:error, /let through/)
    end

    it "do not end the process when the app exits in one" do
      server.start
      old = eventually { threads if threads.size == 2 }
      allow(PushServer).to receive(:log)
      native.work_to_do << -> { exit 3 }
      eventually { threads.size == 2 && (threads & old).size == 1 }
      expect(PushServer).to have_received(:log).with(:error, /SystemExit/)
    end

    it "are started later if the system gives no threads, and the log says so once" do
      server.start
      eventually { native.told.size == 3 }
      native.story
      logged = Thread::Queue.new
      allow(PushServer).to receive(:log) { |_, line| logged << line }
      attempts = Thread::Queue.new
      allow(Thread).to receive(:new) do
        attempts << true
        raise ThreadError, "none left"
      end
      native.work_to_do << -> { Thread.current.kill } << -> { Thread.current.kill }
      eventually { threads.empty? && attempts.size >= 4 }
      allow(Thread).to receive(:new).and_call_original
      eventually { threads.size == 2 }
      lines = Array.new(logged.size) { logged.pop }.grep(/cannot start|again/)
      expect(lines).to match([/cannot start a thread for the app: none left. Going on with [01] and /,
                              /all threads of the app run again/])
      expect(native.story).to include([:threads_left, 0], [:threads_left, nil])
    end

    it "know that they are those of the server" do
      server.start
      answers = Thread::Queue.new
      native.work_to_do << -> { answers << PushServer::ThreadPool.inside? }
      expect([answers.pop, PushServer::ThreadPool.inside?]).to eq([true, false])
    end
  end

  describe "#run" do
    it "serves until it is stopped" do
      server
      run = Thread.new { @server.run }
      eventually { @server.running? }
      @server.stop
      expect(run.value).to eq(:graceful)
    end

    it "takes the signals only in the main thread" do
      before = trap("TERM", "DEFAULT")
      trap("TERM", before)
      server
      run = Thread.new { @server.run }
      eventually { @server.running? }
      during = trap("TERM", before)
      @server.stop
      run.join
      expect(during).to eq(before)
    end

    it "drains when an exception ends it" do
      server
      run = Thread.new { @server.run }
      eventually { @server.running? && native.told.size == 3 }
      run.report_on_exception = false
      run.raise("enough")
      expect { run.value }.to raise_error("enough")
      expect(@server.ending).to eq(:graceful)
    end
  end

  it "does nothing in a forked process" do
    server.start
    eventually { native.told.size == 3 }
    native.story
    reader, writer = IO.pipe
    Process.wait(fork do
      @server.stop
      @server.stop_now
      writer.write([@server.wait, @server.running?].inspect)
      exit!
    end)
    writer.close
    expect(reader.read).to eq("[true, false]")
    expect(@server.wait(0.05)).to be(false)
    expect(native.story).to be_empty
  end
end
