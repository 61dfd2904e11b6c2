# frozen_string_literal: true

require "faye"
require "push_server"
require "spec_app"

# EventMachine may crash if the process ends while it drops connections (under Puma too): it goes first.
at_exit do
  EventMachine.stop if EventMachine.reactor_running?
  EventMachine.reactor_thread&.join
end

# Faye's channels, unchanged. It takes WebSockets by rack.hijack.
use Faye::RackAdapter, mount: "/faye", timeout: 25 do |faye|
  faye.on(:disconnect) { |client| SpecApp.report("disconnected", id: client) }
end

SCRIPT = File.expand_path("../../browser/node_modules/faye/client/faye-browser-min.js", __dir__)

run(lambda do |env|
  if env["PATH_INFO"] == "/faye-browser.js"
    [200, { "content-type" => "text/javascript" }, [File.read(SCRIPT)]]
  else
    [200, { "content-type" => "text/html" }, ["<!doctype html>"]]
  end
end)
