# frozen_string_literal: true

require "rack"
require "rack/lint"
require "stringio"
require_relative "unit_helper"

RSpec.describe PushServer::EnvTemplate do
  def template(name, threads: 5)
    listener = PushServer::Listener.new(nil, url: "http://#{name}:8080", server_name: name, server_port: "8080")
    described_class.for(listener, threads: threads)
  end

  %w[localhost [::1] 10.0.0.1].each do |name|
    it "satisfies Rack::Lint once a request fills it, listening as #{name}" do
      env = template(name).merge(
        "REQUEST_METHOD" => "GET", "PATH_INFO" => "/", "QUERY_STRING" => "", "SERVER_PROTOCOL" => "HTTP/1.1",
        "rack.input" => StringIO.new("".b), "rack.hijack" => -> {}
      )
      app = Rack::Lint.new(->(_env) { [200, { "content-type" => "text/plain" }, ["fine"]] })
      expect(app.call(env).first).to eq(200)
    end
  end

  it "has the version of Rack's protocol, not that of the release" do
    expect(template("[::1]")["rack.version"]).to eq([1, 3])
  end

  it "says whether there are several threads" do
    expect(template("[::1]", threads: 1)["rack.multithread"]).to be(false)
    expect(template("[::1]", threads: 2)["rack.multithread"]).to be(true)
  end
end
