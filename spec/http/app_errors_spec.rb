# frozen_string_literal: true

require "spec_helper"

# The client gets a 500 that says nothing about the error, which is logged.
RSpec.describe "An app's error" do
  serve <<~'CONFIG', "-e", "production", "--threads", "2"
    require "spec_app"

    def self.dive = dive + 1

    run(lambda do |env|
      case env["PATH_INFO"]
      when %r{\A/raise} then raise ArgumentError, "the secret is 42"
      when "/caused"
        begin
          Integer("the root")
        rescue ArgumentError
          raise "the consequence"
        end
      when "/raising-methods" then raise Class.new(StandardError) { def backtrace = raise("no backtrace either") }
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

  %w[raise not-standard deep throw nil two status status-99 body parts].each do |kind|
    it "is a 500 without details: #{kind}" do
      response = get("/#{kind}")
      expect(response.status).to eq(500)
      expect(response.body).not_to match(/secret|\wError|\.rb|\.ru|nil|nobody/)
    end

    it "ends neither the connection nor a thread: #{kind}" do
      client = http
      5.times { client.get("/#{kind}") }
      expect(client.get("/").body).to eq("fine")
      expect(get("/").body).to eq("fine")
    end
  end

  it "is logged with method and path, class, message and place" do
    get("/raise/logged")
    expect_line(%r{\[push_server\] error: GET /raise/logged: ArgumentError: the secret is 42$})
    expect_line(/\A    \S*config\.ru:\d+/)
  end

  it "is logged in at most a hundred lines" do
    get("/deep?logged")
    expect_line(%r{\A\[push_server\] error: GET /deep: SystemStackError: stack level too deep$})
    expect_line(/\A    … \d+ more lines …$/)
    dives = app.lines.grep(/in .*dive/).size
    expect(dives).to be_between(1, 100 * app.lines.grep(/more lines …/).size)
  end

  it "is logged with its cause" do
    get("/caused")
    expect_line(%r{GET /caused: RuntimeError: the consequence})
    expect_line(/caused by ArgumentError: invalid value for Integer\(\): "the root"/)
  end

  it "is logged even if its own methods raise" do
    get("/raising-methods")
    expect_line(%r{GET /raising-methods: #<Class:\w+> \(its methods raise RuntimeError\)})
  end
end
