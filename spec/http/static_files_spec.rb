# frozen_string_literal: true

require "spec_helper"

# Files of the folder given with --public.
RSpec.describe "Static files" do
  serve <<~'CONFIG', "--public", "public", files: {
    require "spec_app"

    run ->(env) { [404, { "content-type" => "text/plain", "x-app" => "yes" }, ["the app: #{env["REQUEST_METHOD"]}"]] }
  CONFIG
    "secret.txt" => "secret",
    "public/page.html" => "<p>page</p>", "public/style.css" => "p {}", "public/code.js" => "1", "public/data.json" => "{}",
    "public/picture.png" => "\x89PNG\0", "public/picture.svg" => "<svg/>", "public/plain.txt" => "text", "public/no_extension" => "?",
    "public/module.wasm" => "\0asm", "public/empty.txt" => "",
    "public/folder/inner.txt" => "inner", "public/with space.txt" => "space", "public/grüße.txt" => "unicode",
    "public/.hidden" => "secret", "public/.git/config" => "secret", "public/large.bin" => "0123456789" * 500_000
  }

  {
    "/page.html" => ["text/html", "<p>page</p>"], "/style.css" => ["text/css", "p {}"], "/code.js" => ["text/javascript", "1"],
    "/data.json" => ["application/json", "{}"], "/picture.png" => ["image/png", "\x89PNG\0".b],
    "/picture.svg" => ["image/svg+xml", "<svg/>"], "/plain.txt" => ["text/plain", "text"],
    "/module.wasm" => ["application/wasm", "\0asm"], "/no_extension" => ["application/octet-stream", "?"],
    "/folder/inner.txt" => ["text/plain", "inner"], "/plain.txt?a=b" => ["text/plain", "text"],
    "/with%20space.txt" => ["text/plain", "space"], "/gr%C3%BC%C3%9Fe.txt" => ["text/plain", "unicode"],
    "/p%6cain.txt" => ["text/plain", "text"], "/empty.txt" => ["text/plain", ""]
  }.each do |target, (type, body)|
    it "are served with their type: #{target}" do
      response = get(target)
      expect(response).to have_attributes(status: 200, framing: :length, body: body.b)
      expect(response["content-type"]).to start_with(type)
      expect(response["x-app"]).to be_nil
    end
  end

  it "may be large" do
    expect(get("/large.bin").body == "0123456789" * 500_000).to be(true)
  end

  it "keep the connection" do
    client = http
    expect(%w[/plain.txt /nothing /page.html].map { |target| client.get(target).status }).to eq([200, 404, 200])
  end

  it "are answered to HEAD without their content" do
    client = http
    response = client.request("HEAD", "/plain.txt")
    expect(response).to have_attributes(status: 200, framing: :none)
    expect(response["content-length"]).to eq("4")
    expect(client.get("/plain.txt").body).to eq("text")
  end

  it "are for GET and HEAD only" do
    response = http.request("POST", "/plain.txt", {}, body: "x")
    expect(response).to have_attributes(status: 404, body: "the app: POST")
  end

  ["/", "/folder", "/folder/", "/missing.txt", "/plain.txt/", "/plain.txt/more"].each do |target|
    it "do not include #{target}: the app is asked" do
      expect(get(target)).to have_attributes(status: 404, body: "the app: GET")
    end
  end

  ["/../secret.txt", "/%2e%2e/secret.txt", "/%2E%2E%2Fsecret.txt", "/..%2fsecret.txt", "/folder/../../secret.txt",
   "/folder/%2e%2e/%2e%2e/secret.txt", "/..%5csecret.txt", "/..\\secret.txt", "/folder/..%5c..%5csecret.txt", "/%252e%252e/secret.txt",
   "/.%2e/secret.txt", "//secret.txt", "/./../secret.txt", "/plain.txt/../../secret.txt", "/%c0%ae%c0%ae/secret.txt",
   "/..;/secret.txt", "/public/../../secret.txt", "/%00/../secret.txt", "/plain.txt%00", "/../public/plain.txt%00.png",
   "/.hidden", "/%2ehidden", "/.git/config", "/folder/../.hidden", "/%2egit/config", "/.", "/..", "//etc/passwd", "/etc/passwd"].each do |target|
    it "never include #{target}" do
      response = get(target)
      expect(response.status).to be_between(400, 404)
      expect(response.body).not_to include("secret", "root:", "text")
    end
  end
end
