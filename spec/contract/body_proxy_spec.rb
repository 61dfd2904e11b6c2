# frozen_string_literal: true

require "spec_helper"

# Middleware wraps bodies in a Rack::BodyProxy, so that it is called when the response has ended. The one of Rack 3 closes
# itself when it is turned into an Array, the one of Rack 2 does not.
RSpec.describe "A body in a Rack::BodyProxy" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"
    require "rack/body_proxy"
    require "rack/lock"

    closed = Hash.new(0)
    app = lambda do |env|
      next [200, {}, [closed[env["QUERY_STRING"]].to_s]] if env["PATH_INFO"] == "/closed"

      body = env["PATH_INFO"] == "/array" ? ["body"] : Enumerator.new { |parts| parts << "body" }
      name = env["PATH_INFO"][1..]
      [200, {}, Rack::BodyProxy.new(body) { closed[name] += 1 }]
    end
    run Rack::Lock.new(app)
  CONFIG

  %w[array each].each do |kind|
    it "is closed once, which also releases Rack::Lock (#{kind})" do
      before = Integer(get("/closed?#{kind}").body, 10)
      3.times { expect(get("/#{kind}").body).to eq("body") }
      eventually { Integer(get("/closed?#{kind}").body, 10) == before + 3 }
    end
  end
end
