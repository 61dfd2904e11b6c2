# frozen_string_literal: true

require "spec_helper"

# What a drain that takes too long cuts off has been told of all the same: on_close of every client runs.
RSpec.describe "A drain that times out" do
  config = <<~'CONFIG'
    require "spec_app"

    handler = SpecApp::Recorder.new(open: ->(client) { 80.times { client.write("x" * 50_000) } })
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  # Nobody else may give up on them before.
  before do
    start_app(config, *%w[--drain-timeout 1 --close-timeout 3600 --slow-timeout 3600 --threads 2])
  end

  %i[websocket sse].each do |protocol|
    it "calls on_close of every client that does not take what is queued for it (#{protocol})" do
      clients = Array.new(20) { public_send(protocol, "/", receive_buffer: 4096) }
      clients.each { |client| event(:open, client) }
      expect(ask(clients.last, "client.pending")).to be > 0
      app.signal("TERM")
      expect(app.wait.exitstatus).to eq(0)
      expect(app.output).to include("drain_timeout")
      clients.each { |client| expect(story(client) - %i[shutdown drained]).to eq(%i[open close]) }
    end
  end
end
