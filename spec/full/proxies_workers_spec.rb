# frozen_string_literal: true

require "delegate"
require "spec_helper"

# What clients of a proxy see of two workers behind it: that they are one server, and that a restart costs nobody a request or a
# message.
RSpec.describe "Two workers behind a proxy", :full, transport: :tcp do
  # The server as a storm sees it: with the proxy's address in place of its own.
  behind = Class.new(SimpleDelegator) do
    attr_reader :address

    def initialize(app, address)
      super(app)
      @address = address
    end
  end

  def start_behind(program, source, *options, **how)
    start_app(source, "-w", 2, *options, **how)
    app.wait_for_line(/All 2 workers serve/)
    @proxy = program.new(app)
    eventually("#{program} to listen") { @proxy.listening? }
  end

  after { @proxy&.stop }

  [Nginx, HAProxy, Caddy].each do |program|
    context "such as #{program}" do
      before { skip program.missing if program.missing }

      # 8 threads publish by POST over connections that are kept, 100 clients read over WebSockets, event streams and long polls. Some come
      # back over a connection of the proxy to a worker that is about to end, and so once more: few streams, since most have new connections.
      { "phased restart" => :phased_restart, "restart" => :restart }.each do |title, kind|
        it "fail no request in a #{title}, and lose no message" do
          start_behind(program, ProcessStorm::APP, *ProcessStorm::OPTIONS, "--drain-timeout", 20)
          storm = ProcessStorm.new(behind.new(app, @proxy.address), seed: 7, workers: 2, clients: 100, kinds: [kind], leave: false,
                                                                         channels: ProcessStorm::KEPT)
          problems = storm.run
          RSpec.configuration.reporter.message("    #{storm.summary}")
          expect(problems + storm.publishers.failures.map(&:to_a)).to eq([])
          streams, polls = storm.readers.all.partition { |reader| reader.kind != :poll }
          expect((streams + polls).map(&:openings)).to all(be_between(2, 3))
          expect(streams.map(&:visits).tally.fetch(2)).to be > 50
          expect(app.stop).to be_success
        end
      end

      it "lose no message when they are killed" do
        start_behind(program, ProcessStorm::APP, *ProcessStorm::OPTIONS, *ProcessStorm::CLUSTER)
        storm = ProcessStorm.new(behind.new(app, @proxy.address), seed: 8, workers: 2, clients: 60, kinds: %i[kill_worker kill_hub],
                                                                       channels: ProcessStorm::KEPT)
        problems = storm.run
        RSpec.configuration.reporter.message("    #{storm.summary}")
        expect(problems).to eq([])
        expect(app.stop).to be_success
      end
    end
  end
end
