# frozen_string_literal: true

require "push_server/config/command_line"
require "push_server/rack/handler"
require "tmpdir"
require_relative "unit_helper"

RSpec.describe PushServer::RackHandler do
  let(:handler) { Module.new.extend(described_class) }

  def options(given) = described_class.options(given)

  it "knows the options in both spellings" do
    expect(options(Host: "x", Port: "1", threads: "2", MaxMessageSize: "3", sse_event: "")).to eq(
      host: "x", port: "1", threads: "2", max_message_size: "3", sse_event: ""
    )
  end

  it "ignores rackup's own options, and warns about unknown ones" do
    allow(PushServer).to receive(:log)
    expect(options(AccessLog: [], config: "c", pid: nil, daemonize: true, environment: "none")).to eq(environment: "none")
    expect(PushServer).not_to have_received(:log)
    expect(options(Thread: "1")).to eq({})
    expect(PushServer).to have_received(:log).with(:warn, /rackup option Thread is ignored.*did you mean :threads/)
  end

  it "takes AccessLog as its own option, unless the value is the one for WEBrick" do
    expect(options(AccessLog: "json", AccessLogFile: "a.log")).to eq(access_log: "json", access_log_file: "a.log")
  end

  describe "the sources of its options" do
    around do |example|
      here = Dir.pwd
      Dir.mktmpdir do |dir|
        Dir.chdir(dir)
        Dir.mkdir("config")
        example.run
      ensure
        Dir.chdir(here)
      end
    end

    before { stub_const("ENV", { "RACK_ENV" => "test" }) }

    def configured(file, given)
      File.write("config/push_server.rb", file)
      options = described_class.configuration(given).options
      [options[:port], options.binds, options[:threads]]
    end

    it "are the configuration file, and what the user has given to rackup before that" do
      expect(configured("port 1\nthreads 2", Port: 9292, Host: "0.0.0.0")).to eq([1, ["tcp://0.0.0.0"], 2])
      expect(configured("port 1\nthreads 2", Port: "9292", Host: "0.0.0.0", Threads: "3")).to eq([9292, ["tcp://0.0.0.0"], 3])
      expect(configured("bind 'unix:///s'", Port: 9292, Host: "0.0.0.0")).to eq([9292, ["unix:///s"], 5])
      expect(configured("bind 'unix:///s'", Port: 9292, Host: "127.0.0.1")).to eq([9292, ["tcp://127.0.0.1"], 5])
      expect(configured("", Port: 9292, Host: "0.0.0.0")).to eq([9292, ["tcp://0.0.0.0"], 5])
    end

    it "are what `rails server` says that the user has given; its defaults come last" do
      rails = { Port: 3000, Host: "localhost", environment: "development" }
      expect(configured("port 1", rails.merge(user_supplied_options: []))).to eq([1, ["tcp://localhost"], 5])
      expect(configured("", rails.merge(user_supplied_options: []))).to eq([3000, ["tcp://localhost"], 5])
      expect(configured("port 1", rails.merge(user_supplied_options: [:Port]))).to eq([3000, ["tcp://localhost"], 5])
      expect(configured("bind 'unix:///s'", rails.merge(user_supplied_options: []))).to eq([3000, ["unix:///s"], 5])
    end

    it "become the command line of push_server if there are workers, which finds the file by itself" do
      File.write("config.ru", "")
      File.write("config/push_server.rb", "threads 2\nping_interval 3")
      allow(PushServer::Program).to receive(:execute_command)
      handler.run(->(_) {}, Port: "1", Host: "::1", Workers: "2", Preload: "false", PongTimeout: 4, SseHeartbeat: nil, SseEvent: "",
                            AllowedOrigins: %w[https://a https://b], config: File.expand_path("config.ru"), pid: "/rack.pid")
      expect(PushServer::Program).to have_received(:execute_command) do |words, file|
        expect(file).to eq(File.expand_path("config.ru"))
        expect(PushServer::CommandLine.new(words).given)
          .to eq(bind: ["tcp://[::1]"], port: "1", workers: "2", preload: false, pong_timeout: "4", sse_heartbeat: "off", sse_event: "",
                 allowed_origins: %w[https://a https://b], pidfile: "/rack.pid")
      end
    end
  end

  it "tells rackup its options" do
    expect(handler.valid_options).to include("Port=PORT", "Threads=N", "MaxMessageSize=BYTES", "SseEvent=NAME")
  end

  describe ".run" do
    before { use_fake_native_server }

    it "yields a server that can be stopped, and returns when it has stopped" do
      server = nil
      thread = Thread.new { handler.run(->(_) {}, Host: "127.0.0.1", Port: "0", log_level: "warn") { |yielded| server = yielded } }
      eventually { server&.running? }
      server.stop
      expect(thread.join(10)).to equal(thread)
    ensure
      PushServer.log_level = :info
    end

    it "raises errors outside of the main thread" do
      thread = Thread.new { handler.run(->(_) {}, Port: "x") }
      thread.report_on_exception = false
      expect { thread.value }.to raise_error(PushServer::OptionError, /port: cannot be "x"/)
    end
  end

  it "is registered where rackup looks" do
    if Rack.release < "3"
      require "rack/handler/push_server"
      expect(Rack::Handler.get("push_server")).to be_a(described_class)
    else
      require "rackup"
      expect(Rackup::Handler.get(:push_server)).to be_a(described_class)
    end
  end
end
