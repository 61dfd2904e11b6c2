# frozen_string_literal: true

require "push_server"
require "rack/lint"
require "rack/mock"

RSpec.describe PushServer::Javascript do
  subject(:app) { Rack::MockRequest.new(Rack::Lint.new(described_class)) }

  it "is the source of push.js" do
    expect(PushServer.javascript).to eq(File.read(File.join(AppProcess::ROOT, "lib/push_server/push.js"), encoding: "UTF-8"))
    expect(PushServer.javascript).to be_frozen.and include("export function push(")
  end

  it "is small, and imports nothing" do
    expect(PushServer.javascript.lines.size).to be <= 200
    expect(PushServer.javascript).not_to match(/^\s*import\b|\bimport\(|\brequire\(/)
  end

  it "is served as a module, at any path" do
    ["/", "/assets/push.js"].each do |path|
      response = app.get(path)
      expect(response.status).to eq(200)
      expect(response["content-type"]).to eq("text/javascript; charset=utf-8")
      expect(response["cache-control"]).to eq("public, no-cache")
      expect(response.body).to eq(PushServer.javascript)
    end
  end

  it "is sent once to a browser that caches it" do
    tag = app.get("/")["etag"]
    [tag, "W/#{tag}", %("other", #{tag}), "*"].each do |known|
      response = app.get("/", "HTTP_IF_NONE_MATCH" => known)
      expect(response.status).to eq(304)
      expect(response["etag"]).to eq(tag)
      expect(response.body).to be_empty
    end
    expect(app.get("/", "HTTP_IF_NONE_MATCH" => '"other"').status).to eq(200)
  end

  it "answers HEAD like GET without the content, and nothing else" do
    head = app.head("/")
    expect(head.body).to be_empty
    expect(head["content-length"]).to eq(PushServer.javascript.bytesize.to_s)
    expect(app.post("/")).to have_attributes(status: 405, headers: include("allow" => "GET, HEAD"))
  end
end

RSpec.describe "--javascript" do
  serve "run ->(env) { [200, {}, [env['PATH_INFO']]] }", "--javascript", "/assets/push.js"

  it "puts push.js in front of the app, at one path" do
    expect(get("/assets/push.js?v=1")).to have_attributes(status: 200, body: PushServer.javascript)
    expect(get("/push.js").body).to eq("/push.js")
  end
end
