# frozen_string_literal: true

require "spec_helper"

# An app that misbehaves gets a 500 and a line in the log; the client learns nothing of it.
RSpec.describe "An app's error" do
  config = <<~'CONFIG'
    require "spec_app"

    def self.dive = dive + 1

    run(lambda do |env|
      case env["PATH_INFO"]
      when %r{\A/raise} then raise ArgumentError, "the secret is 42"
      when "/not-standard" then raise NotImplementedError, "the secret is 42"
      when "/deep" then dive
      when "/throw" then throw :nobody
      when "/nil" then nil
      when "/two" then [200, {}]
      when "/status" then ["two hundred", {}, []]
      when "/status-99" then [99, {}, []]
      when "/body" then [200, {}, nil]
      when "/parts" then [200, {}, [1, 2]]
      else [200, { "content-type" => "text/plain" }, ["fine"]]
      end
    end)
  CONFIG

  errors = %w[raise not-standard deep throw nil two status status-99 body parts]

  context "in production" do
    serve config, "-e", "production", "--threads", "2"

    errors.each do |kind|
      it "is a 500 that tells nothing: #{kind}" do
        client = http
        response = client.get("/#{kind}?a=b")
        expect(response.status).to eq(500)
        expect(response.body).not_to match(/secret|\wError|\.rb|\.ru|nil|nobody/)
      end

      it "takes neither the connection nor a worker with it: #{kind}" do
        5.times { get("/#{kind}") }
        expect(get("/").body).to eq("fine")
      end
    end

    it "is logged with the request line, class, message and place" do
      get("/raise/logged")
      app.wait_for_line(%r{GET /raise/logged})
      app.wait_for_line(/ArgumentError/)
      app.wait_for_line(/the secret is 42/)
      app.wait_for_line(/config\.ru:\d+/)
    end
  end

  context "in development" do
    serve config, "-e", "development"

    it "is shown to the developer" do
      response = get("/raise")
      expect(response.status).to eq(500)
      expect(response.body).to include("ArgumentError", "the secret is 42")
    end

    # The message may hold what a user sent.
    it "is not shown as HTML" do
      expect(get("/raise")["content-type"]).to start_with("text/plain")
    end
  end
end
