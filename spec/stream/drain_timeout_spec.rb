# frozen_string_literal: true

require "spec_helper"

# on_close is called for clients whose connections are cut because the drain takes too long.
RSpec.describe "A drain that times out" do
  config = <<~'CONFIG'
    require "spec_app"

    handler = SpecApp::Recorder.new(open: ->(client) { 80.times { client.write("x" * 50_000) } })
    run(lambda do |env|
      env["rack.upgrade"] = handler
      [200, {}, []]
    end)
  CONFIG

  # No other limit may close them before.
  before do
    start_app(config, *%w[--drain-timeout 1 --close-timeout 3600 --slow-timeout 3600 --threads 2])
  end

  %i[websocket sse].each do |protocol|
    it "calls on_close for every client that does not read what is queued for it (#{protocol})" do
      clients = Array.new(20) { public_send(protocol, "/", receive_buffer: 4096) }
      clients.each { |client| event(:open, client) }
      eventually("data to wait for the last client") { ask(clients.last, "client.pending").positive? }
      app.signal("TERM")
      expect(app.wait.exitstatus).to eq(0)
      expect(app.output).to include("drain_timeout")
      clients.each { |client| expect(story(client) - %i[shutdown drained]).to eq(%i[open close]) }
    end
  end
end
