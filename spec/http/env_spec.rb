# frozen_string_literal: true

require "spec_helper"

# The Rack environment of a request.
RSpec.describe "The env" do
  serve <<~'CONFIG', "--threads", "2"
    require "spec_app"

    # Strings in a form that JSON can carry: bytes beyond ASCII are escaped.
    show = ->(value) { value.is_a?(String) && !value.ascii_only? ? value.b.dump : value }

    app = lambda do |env|
      plain = env.select { |_, value| [String, Integer, true, false, nil, Array].any? { |type| type === value } }
      [200, { "content-type" => "application/json" }, [JSON.generate(plain.transform_values(&show))]]
    end
    envs = []
    keeping = lambda do |env|
      envs << env
      env["kept"] = envs.size
      [200, { "content-type" => "text/plain" }, ["#{envs.map { |kept| kept["kept"] }} #{envs.uniq(&:object_id).size}"]]
    end
    logging = lambda do |env|
      env["rack.errors"].puts("a line for the errors stream")
      [200, {}, []]
    end

    use Rack::Lint
    run Rack::URLMap.new("/keep" => keeping, "/log" => logging, "/app" => app, "/" => app)
  CONFIG

  def env(target = "/", headers = {}, method: "GET", **options)
    JSON.parse(http.request(method, target, headers, **options).body)
  end

  it "has the parts of the request line" do
    expect(env("/a/path?x=1&y=%20")).to include(
      "REQUEST_METHOD" => "GET", "SCRIPT_NAME" => "", "PATH_INFO" => "/a/path", "QUERY_STRING" => "x=1&y=%20",
      "SERVER_PROTOCOL" => "HTTP/1.1", "rack.url_scheme" => "http"
    )
    expect(env("/", version: "1.0")).to include("SERVER_PROTOCOL" => "HTTP/1.0")
  end

  it "has an empty QUERY_STRING when there is none" do
    expect(env("/path")).to include("QUERY_STRING" => "")
    expect(env("/path?")).to include("QUERY_STRING" => "")
  end

  it "has the path as it was sent" do
    expect(env("/a%20b/%C3%A9//c%2Fd")).to include("PATH_INFO" => "/a%20b/%C3%A9//c%2Fd")
  end

  %w[POST PUT PATCH DELETE OPTIONS TRACE PROPFIND PURGE].each do |method|
    it "has the method #{method}" do
      expect(env("/", { "content-length" => "0" }, method: method)).to include("REQUEST_METHOD" => method)
    end
  end

  it "has the server's name and port, and the client's address" do
    expect(env("/", { "host" => "example.com:8080" }))
      .to include("SERVER_NAME" => "example.com", "SERVER_PORT" => "8080", "REMOTE_ADDR" => "127.0.0.1")
    expect(env("/", { "host" => "[::1]:8080" })).to include("SERVER_NAME" => "[::1]", "SERVER_PORT" => "8080")
    expect(env("/", { "host" => "example.com" })["SERVER_PORT"]).not_to eq("")
  end

  describe "has headers, which" do
    it "are HTTP_ variables" do
      expect(env("/", { "x-some-header" => "value", "Accept" => "*/*" }))
        .to include("HTTP_X_SOME_HEADER" => "value", "HTTP_ACCEPT" => "*/*", "HTTP_HOST" => "localhost")
    end

    it "have no HTTP_ for the body's type and length" do
      told = env("/", { "content-type" => "text/plain" }, method: "POST", body: "12345")
      expect(told).to include("CONTENT_TYPE" => "text/plain", "CONTENT_LENGTH" => "5")
      expect(told.keys).not_to include("HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH")
    end

    it "are joined when they are repeated" do
      expect(env("/", ["X-Many: a", "x-many: b", "Cookie: c=1", "Cookie: d=2"]))
        .to include("HTTP_X_MANY" => "a, b", "HTTP_COOKIE" => "c=1; d=2")
    end

    it "are dropped when they have an underscore, because they could replace the ones with dashes" do
      expect(env("/", ["X_Forwarded_For: 6.6.6.6", "X-Forwarded-For: 1.1.1.1"])["HTTP_X_FORWARDED_FOR"]).to eq("1.1.1.1")
      expect(env("/", ["X_Real_Ip: 6.6.6.6"]).keys).not_to include("HTTP_X_REAL_IP")
      expect(env("/", ["Content_Length: 5"]).keys).not_to include("CONTENT_LENGTH")
    end

    it "do not include Proxy, which CGI programs take for a setting" do
      expect(env("/", ["Proxy: http://evil.example"]).keys).not_to include("HTTP_PROXY")
    end

    it "keep bytes beyond ASCII" do
      expect(env("/", ["X-Name: grüße"])["HTTP_X_NAME"]).to eq("grüße".b.dump)
    end
  end

  it "says that there are several threads and one process" do
    told = env
    # Rack 3 has dropped these, but apps for Rack 2 read them.
    expect(told).to include("rack.multithread" => true, "rack.multiprocess" => false, "rack.run_once" => false)
  end

  it "is a new Hash for each request, which the app can keep and change" do
    get("/keep")
    expect(get("/keep").body).to eq("[1, 2] 2")
  end

  it "has an errors stream, which writes to the server's output" do
    get("/log")
    expect_line(/a line for the errors stream/)
  end
end
