# frozen_string_literal: true

require "spec_helper"

# How a response ends: the body's close, then rack.response_finished, each once, whatever went wrong before.
RSpec.describe "The end of a response" do
  serve <<~'CONFIG', "--threads", "1"
    require "spec_app"

    # Yields parts, or does with the thread what they say, and reports its close, which meets an exception of its own.
    class Body
      def initialize(name, *parts)
        @name = name
        @parts = parts
      end

      def each
        @parts.each do |part|
          case part
          when :raise then raise "the body failed"
          when :kill then Thread.current.kill
          else yield part
          end
        end
      end

      def close
        raise "within close"
      rescue RuntimeError
        SpecApp.report(:closed, id: @name)
      end
    end

    # A streaming body: it is called with the stream.
    class Caller
      def initialize(name, &block)
        @name = name
        @block = block
      end

      def call(stream) = @block.call(stream)
      def close = SpecApp.report(:closed, id: @name)
    end

    class NoEach
      def initialize(name)
        @name = name
      end

      def close = SpecApp.report(:closed, id: @name)
    end

    Text = { "content-type" => "text/plain", "x-app" => "yes" }

    def answer(path, name)
      body = ->(*parts) { Body.new(name, *parts) }
      case path
      when "/raise" then raise "the app failed"
      when "/kill" then Thread.current.kill
      when "/array" then [200, Text, ["whole"]]
      when "/each" then [200, Text, body["one ", "two"]]
      when "/call" then [200, Text, Caller.new(name) { |stream| stream.write("called"); stream.close }]
      when "/missing" then [404, Text, body["not here"]]
      when "/each-raise" then [200, Text, body["one", :raise]]
      when "/each-raise-at-once" then [200, Text, body[:raise]]
      when "/each-kill" then [200, Text, body["one", :kill]]
      when "/each-kill-at-once" then [200, Text, body[:kill]]
      when "/call-kill" then [200, Text, Caller.new(name) { |stream| stream.write("one"); Thread.current.kill }]
      when "/header-value" then [200, Text.merge("x" => 1), body["x"]]
      when "/header-line-end" then [200, Text.merge("x" => "a\rb"), body["x"]]
      when "/header-name" then [200, Text.merge("x y" => "a"), body["x"]]
      when "/headers-nil" then [200, nil, body["x"]]
      when "/status-zero" then [0, Text, body["x"]]
      when "/status-interim" then [100, Text, body["x"]]
      when "/status-large" then [1000, Text, body["x"]]
      when "/status-nil" then [nil, Text, body["x"]]
      when "/no-each" then [200, Text, NoEach.new(name)]
      when "/part" then [200, Text, body[1]]
      when "/no-triple" then [200, Text]
      end
    end

    handler = SpecApp::Recorder.new
    run(lambda do |env|
      name = env["QUERY_STRING"]
      (env["rack.response_finished"] ||= []) << lambda do |of, status, headers, error|
        SpecApp.report(:finished, id: name, env: of.equal?(env), status: status, headers: headers&.to_h, error: error&.message)
      end
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      answer(env["PATH_INFO"], name)
    end)
  CONFIG

  def name = @name ||= Serving.next_name
  def finished = app.events.take(event: "finished", id: name)
  def told = app.events.all(id: name).map { |event| event[:event] }

  # Sends a request and waits for the next on the only worker: then the first has ended, however it did.
  def ended(path, headers = {})
    client = http
    client.send_request("GET", "#{path}?#{name}", headers.merge("connection" => "close"))
    raw = client.connection.read_to_end
    expect(get("/array?#{Serving.next_name}").body).to eq("whole")
    raw
  end

  describe "that is fine" do
    { "/array" => 200, "/each" => 200, "/call" => 200, "/missing" => 404 }.each do |path, status|
      it "is told with status and headers: #{path}" do
        ended(path)
        expect(finished).to include(env: true, status: status, headers: { "content-type": "text/plain", "x-app": "yes" }, error: nil)
        expect(told).to eq(path == "/array" ? %w[finished] : %w[closed finished])
      end
    end
  end

  # What the app did wrong, or the body before its first part: 500.
  describe "that was replaced with a 500" do
    %w[/header-value /header-line-end /header-name /headers-nil /status-zero /status-interim /status-large /status-nil
       /no-each /part /each-raise-at-once].each do |path|
      it "is the body's close, then rack.response_finished with the error: #{path}" do
        expect(ended(path)).to start_with("HTTP/1.1 500 ")
        expect(finished).to include(env: true, error: String)
        expect(told).to eq(%w[closed finished])
      end
    end

    it "is rack.response_finished with what the app raised, and neither status nor headers" do
      expect(ended("/raise")).to start_with("HTTP/1.1 500 ")
      expect(finished).to include(env: true, status: nil, headers: nil, error: "the app failed")
      expect(told).to eq(%w[finished])
    end

    it "is rack.response_finished when there is no body to close" do
      expect(ended("/no-triple")).to start_with("HTTP/1.1 500 ")
      expect(finished).to include(error: /\[status, headers, body\]/)
      expect(told).to eq(%w[finished])
    end

    it "is the same for a request that could be upgraded" do
      expect(ended("/header-value", { "accept" => "text/event-stream" })).to start_with("HTTP/1.1 500 ")
      expect(finished).to include(error: String)
      expect(told).to eq(%w[closed finished])
    end
  end

  it "with an error of the body is told with status, headers and error" do
    expect(ended("/each-raise")).not_to end_with("0\r\n\r\n")
    expect(finished).to include(status: 200, headers: include("x-app": "yes"), error: "the body failed")
    expect(told).to eq(%w[closed finished])
  end

  # Thread#kill unwinds past every rescue: only ensure runs. Its worker is replaced, as there is no other here.
  describe "whose thread is killed" do
    { "/each-kill" => "in each", "/each-kill-at-once" => "in each, before a part", "/call-kill" => "in call" }.each do |path, where|
      it "is the body's close, once, and the process lives on: #{where}" do
        5.times do
          @name = Serving.next_name
          expect(ended(path)).not_to match(/\AHTTP.1.1 200.*0\r\n\r\n\z/m)
          finished
          expect(told).to eq(%w[closed finished])
        end
      end
    end

    it "in the app itself is a 500, and the process lives on" do
      5.times do
        @name = Serving.next_name
        expect(ended("/kill")).to start_with("HTTP/1.1 500 ")
      end
    end
  end
end
