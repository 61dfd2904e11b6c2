# frozen_string_literal: true

require_relative "unit_helper"

RSpec.describe PushServer::Router do
  let(:router) { described_class.new }

  def route(method, pattern, answer = pattern)
    router.add(method, pattern, ->(_env) { [200, {}, [answer]] })
  end

  def call(method, path) = router.call({ "REQUEST_METHOD" => method, "PATH_INFO" => path })
  def answer(method, path) = call(method, path).then { |status, _, body| status == 200 ? body.join : status }

  it "finds a handler by method and path" do
    route(:GET, "/a", "got")
    route("post", "/a", "posted")
    expect(answer("GET", "/a")).to eq("got")
    expect(answer("POST", "/a")).to eq("posted")
    expect(answer("GET", "/b")).to eq(404)
    expect(answer("GET", "/a/")).to eq(404)
  end

  it "takes nil as any method" do
    route(nil, "/a")
    expect(answer("PROPFIND", "/a")).to eq("/a")
  end

  it "takes * as one segment" do
    route(:GET, "/a/*/c")
    expect(answer("GET", "/a/b/c")).to eq("/a/*/c")
    ["/a//c", "/a/b/b/c", "/a/b/c/d"].each { |path| expect(answer("GET", path)).to eq(404), path }
  end

  it "takes * within a segment as a part of the segment" do
    route(:GET, "/img/*.png")
    expect(answer("GET", "/img/a.png")).to eq("/img/*.png")
    expect(answer("GET", "/img/a-png")).to eq(404)
  end

  it "takes ** as the rest of the path, also an empty rest" do
    route(:GET, "/a/**")
    ["/a/", "/a/b", "/a/b/c", "/a/%0A", "/a/b\nc"].each { |path| expect(answer("GET", path)).to eq("/a/**"), path }
    ["/a", "/b/a/"].each { |path| expect(answer("GET", path)).to eq(404), path }
  end

  it "takes ** alone as every path" do
    route(nil, "**")
    expect(answer("GET", "/")).to eq("**")
    expect(answer("OPTIONS", "*")).to eq("**")
  end

  it "calls the first handler that fits" do
    route(:GET, "/a/*", "first")
    route(:GET, "/a/b", "second")
    expect(answer("GET", "/a/b")).to eq("first")
  end

  it "answers HEAD with a handler for GET, unless there is one for HEAD" do
    route(:GET, "/a", "got")
    route(:GET, "/b", "got")
    route(:HEAD, "/b", "headed")
    expect(answer("HEAD", "/a")).to eq("got")
    expect(answer("HEAD", "/b")).to eq("headed")
  end

  it "answers 405 with the allowed methods if only the method does not fit" do
    route(:GET, "/a")
    route(:PUT, "/*")
    route(:GET, "/b")
    router.not_found = ->(_) { raise "not asked" }
    status, headers, = call("POST", "/a")
    expect([status, headers["allow"]]).to eq([405, "GET, PUT, HEAD"])
  end

  it "calls the not-found handler for unknown paths" do
    router.not_found = ->(env) { [404, {}, ["no #{env["PATH_INFO"]}"]] }
    expect(call("GET", "/x")).to eq([404, {}, ["no /x"]])
  end

  it "answers with new headers each time, because middleware may change them" do
    call("GET", "/x")[1]["x"] = "y"
    expect(call("GET", "/x")[1]).to eq("content-type" => "text/plain; charset=utf-8")
  end

  it "refuses a handler that it cannot call, and a pattern that matches nothing" do
    expect { router.add(:GET, "/a", Object.new) }.to raise_error(ArgumentError, /no method call/)
    expect { router.add(:GET, "/a", nil) }.to raise_error(ArgumentError, /no method call/)
    expect { route(:GET, "/a/**/b") }.to raise_error(ArgumentError, /\*\* stands for the rest/)
    expect { route(:GET, "/***") }.to raise_error(ArgumentError, /\*\* stands for the rest/)
    expect { route(:GET, "a") }.to raise_error(ArgumentError, /begins with/)
  end

  it "takes no more routes once it serves" do
    router.freeze
    expect { route(:GET, "/a") }.to raise_error(FrozenError)
  end
end
