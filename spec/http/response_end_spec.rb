# frozen_string_literal: true

require "spec_helper"

# A response ends with the body's close, then rack.response_finished, each once, even after any failure.
RSpec.describe "The end of a response" do
  serve <<~'CONFIG', "--threads", "1"
    require "spec_app"

    # Yields its parts, or raises or kills the thread as they say. Its close reports, after an exception that it rescues.
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

  # Sends a request, and waits for a later one on the only thread. By then the first has ended. Returns its bytes.
  def ended(path, headers = {})
    client = http
    client.send_request("GET", "#{path}?#{name}", headers.merge("connection" => "close"))
    raw = client.connection.read_to_end
    expect(get("/array?#{Serving.next_name}").body).to eq("whole")
    raw
  end

  describe "without an error" do
    { "/array" => 200, "/each" => 200, "/call" => 200, "/missing" => 404 }.each do |path, status|
      it "calls response_finished with status and headers: #{path}" do
        ended(path)
        expect(finished).to include(env: true, status: status, headers: { "content-type": "text/plain", "x-app": "yes" }, error: nil)
        expect(told).to eq(path == "/array" ? %w[finished] : %w[closed finished])
      end
    end
  end

  # After an error of the app, or of the body before its first part.
  describe "that is replaced with a 500" do
    %w[/header-value /header-line-end /header-name /headers-nil /status-zero /status-interim /status-large /status-nil
       /no-each /part /each-raise-at-once].each do |path|
      it "closes the body, then calls response_finished with the error: #{path}" do
        expect(ended(path)).to start_with("HTTP/1.1 500 ")
        expect(finished).to include(env: true, error: String)
        expect(told).to eq(%w[closed finished])
      end
    end

    it "calls response_finished with the app's exception, without status and headers" do
      expect(ended("/raise")).to start_with("HTTP/1.1 500 ")
      expect(finished).to include(env: true, status: nil, headers: nil, error: "the app failed")
      expect(told).to eq(%w[finished])
    end

    it "calls response_finished when there is no body to close" do
      expect(ended("/no-triple")).to start_with("HTTP/1.1 500 ")
      expect(finished).to include(error: /\[status, headers, body\]/)
      expect(told).to eq(%w[finished])
    end

    it "closes the body, then calls response_finished, for an upgradable request" do
      expect(ended("/header-value", { "accept" => "text/event-stream" })).to start_with("HTTP/1.1 500 ")
      expect(finished).to include(error: String)
      expect(told).to eq(%w[closed finished])
    end
  end

  it "with an error of the body calls response_finished with status, headers and error" do
    expect(ended("/each-raise")).not_to end_with("0\r\n\r\n")
    expect(finished).to include(status: 200, headers: include("x-app": "yes"), error: "the body failed")
    expect(told).to eq(%w[closed finished])
  end

  # Thread#kill runs no rescue, only ensure. The killed thread is replaced: there is no other here.
  describe "whose thread is killed" do
    { "/each-kill" => "in each", "/each-kill-at-once" => "in each, before a part", "/call-kill" => "in call" }.each do |path, where|
      it "closes the body once, and the process goes on: #{where}" do
        5.times do
          @name = Serving.next_name
          expect(ended(path)).not_to match(/\AHTTP.1.1 200.*0\r\n\r\n\z/m)
          finished
          expect(told).to eq(%w[closed finished])
        end
      end
    end

    it "sends a 500 if it is killed in the app, and the process goes on" do
      5.times do
        @name = Serving.next_name
        expect(ended("/kill")).to start_with("HTTP/1.1 500 ")
      end
    end
  end
end
