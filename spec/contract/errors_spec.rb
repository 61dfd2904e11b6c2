# frozen_string_literal: true

require "spec_helper"

# An exception in a callback is passed to on_error or logged, and has no other effect.
RSpec.describe "An exception in a callback" do
  serve <<~'CONFIG', "-t", "2"
    require "spec_app"

    # Raises in the callback that its label names, and otherwise echoes messages.
    class Raiser < SpecApp::Recorder
      def on_open(client)
        super
        raise "on_open of #{@label} failed" if @label == "open"

        client.write("opened") if @label == "drained"
      end

      def on_message(client, data)
        super
        case data
        when "raise" then raise ArgumentError, "on_message of #{@label} failed"
        when "not a StandardError" then raise NotImplementedError, "on_message is not there"
        when "throw" then throw :nobody_catches_this
        when "a deep stack" then def self.dive = dive + 1; dive
        end
        client.write("echo: #{data}")
      end

      def on_drained(client)
        super
        raise "on_drained failed" if @label == "drained"
      end

      def on_close(client, code, reason)
        super
        raise "on_close failed" if @label == "close"
      end
    end

    class WithOnError < Raiser
      def on_error(client, error)
        SpecApp.report(:error, client, type: error.class.name, message: error.message, open: client.open?)
        raise "on_error failed" if @label == "error"
      end
    end

    use Rack::Lint
    run(lambda do |env|
      _, kind, label = env["PATH_INFO"].split("/")
      env["rack.upgrade"] = (kind == "with-on-error" ? WithOnError : Raiser).new(label: label)
      [200, {}, []]
    end)
  CONFIG

  def expect_still_open(client)
    client.text("again")
    expect(client.read_message).to eq("echo: again")
  end

  describe "of a handler with on_error" do
    it "is passed to on_error with the client, which stays open: on_message" do
      client = websocket("/with-on-error/quiet")
      client.text("raise")
      event(:error, client, type: "ArgumentError", message: "on_message of quiet failed", open: true)
      expect_still_open(client)
      expect(app.output).not_to include("on_message of quiet failed")
    end

    it "is passed to on_error: on_open" do
      client = websocket("/with-on-error/open")
      event(:error, client, message: "on_open of open failed", open: true)
      expect_still_open(client)
    end

    it "is passed to on_error: on_drained" do
      client = websocket("/with-on-error/drained")
      expect(client.read_message).to eq("opened")
      event(:error, client, message: "on_drained failed", open: true)
      expect_still_open(client)
    end

    it "is passed to on_error: on_close, which is not called again" do
      client = websocket("/with-on-error/close")
      client.finish
      event(:error, client, message: "on_close failed", open: false)
      expect(story(client)).to eq(%i[open close error])
    end

    it "is passed to on_error for an event stream" do
      client = sse("/with-on-error/open")
      expect_event(:error, client, message: "on_open of open failed", open: true)
      client.close
      expect_event(:close, client)
    end

    ["not a StandardError", "throw", "a deep stack"].each do |kind|
      it "is passed to on_error even if it is unusual: #{kind}" do
        client = websocket("/with-on-error/plain")
        client.text(kind)
        event(:error, client)
        expect_still_open(client)
      end
    end

    it "is followed by nothing but a log line if on_error raises, too" do
      client = websocket("/with-on-error/error")
      client.text("raise")
      event(:error, client)
      expect_still_open(client)
      app.wait_for_line(/on_error failed/)
    end
  end

  describe "of a handler without on_error" do
    it "is logged with class, message and backtrace, and the client stays open" do
      client = websocket("/raiser/open")
      expect_still_open(client)
      app.wait_for_line(/on_open of open failed/)
      app.wait_for_line(/RuntimeError/)
      app.wait_for_line(/config\.ru:\d+:in .*on_open/)
    end

    it "does not end the thread" do
      client = websocket("/raiser/plain")
      ["raise", "not a StandardError", "throw", "a deep stack"].each do |kind|
        client.text(kind)
        expect_still_open(client)
      end
      app.wait_for_line(/NotImplementedError/)
    end

    it "is no reason to close, and on_close is called once even if it raises itself" do
      client = websocket("/raiser/close")
      client.text("raise")
      expect(client.finish(4000, "bye")).to eq([4000, "bye"])
      event(:close, client, code: 4000, reason: "bye")
      app.wait_for_line(/on_close failed/)
      expect(story(client)).to eq(%i[open message close])
    end
  end
end
