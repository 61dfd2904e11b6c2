# frozen_string_literal: true

require "push_server"
require "spec_app"

handler = SpecApp::Recorder.new(
  open: ->(client) { client.write("welcome", id: "1") },
  message: ->(client, data) { client.write(data) }
)

# What the app gets to know through the proxy.
seen = lambda do |env|
  request = Rack::Request.new(env)
  { body: env["rack.input"].read.bytesize, url: request.url, ip: request.ip, peer: env["REMOTE_ADDR"], protocol: env["SERVER_PROTOCOL"] }
end

run(lambda do |env|
  if env["rack.upgrade?"]
    env["rack.upgrade"] = handler
    [200, {}, []]
  else
    [200, { "content-type" => "application/json" }, [JSON.generate(seen.call(env))]]
  end
end)
