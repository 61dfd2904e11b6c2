# frozen_string_literal: true

require "push_server/rack/handler"
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
