# frozen_string_literal: true

require "spec_helper"

# What can be a handler, what its callbacks are given, and their order.
RSpec.describe "A handler" do
  serve <<~'CONFIG'
    require "spec_app"
    require "delegate"

    # Callbacks common to the handlers of several kinds.
    module Echoes
      def on_open(client) = SpecApp.report(:open, client, self: inspect)
      def on_message(client, data) = client.write("#{inspect}: #{data}")
      def on_close(client) = SpecApp.report(:close, client, self: inspect)
    end

    module AModule
      extend Echoes
    end

    class AClass
      extend Echoes

      def initialize = SpecApp.report(:instantiated)
    end

    class AnInstance
      include Echoes

      def inspect = "an instance"
    end

    # Only one callback each, or none.
    OnlyOpen = Class.new { def on_open(client) = client.write("opened") }
    OnlyMessage = Class.new { def on_message(client, data) = client.write(data) }
    OnlyClose = Class.new { def on_close(client) = SpecApp.report(:close, client) }
    Nothing = Class.new

    # Has no callbacks but method_missing, as a proxy does.
    class Proxy < BasicObject
      def respond_to?(name, _all = false) = %i[on_open on_message on_close].include?(name)

      def method_missing(name, client, *rest)
        ::SpecApp.report(name.to_s.delete_prefix("on_"), client, extra: rest.size)
      end
    end

    # Reports which callbacks respond_to? is called for.
    class Asked
      include Echoes

      def respond_to?(name, *)
        SpecApp.report(:asked, name: name) if name.start_with?("on_")
        super
      end
    end

    # Keeps the client objects that it was given.
    class Keeper
      def initialize = @seen = []

      def on_open(client)
        @seen << client
        client.write("hello")
      end

      def on_drained(client)
        @seen << client
        SpecApp.report(:drained, client)
      end

      def on_message(client, _data)
        @seen << client
        client.write("noted")
      end

      def on_close(client)
        SpecApp.report(:close, client, seen: @seen.size, same: @seen.all? { |seen| seen.equal?(client) },
                                       deleted: [client].delete(client).equal?(client))
      end
    end

    module OneParameter
      def self.on_close(client) = SpecApp.report(:close, client, got: [])
    end

    module TwoParameters
      def self.on_close(client, code = :absent) = SpecApp.report(:close, client, got: [code])
    end

    module ThreeParameters
      def self.on_close(client, code, reason) = SpecApp.report(:close, client, got: [code, reason])
    end

    module OptionalParameters
      def self.on_close(client, code = :absent, reason = :absent) = SpecApp.report(:close, client, got: [code, reason])
    end

    module BareSplat
      def self.on_close(client, *rest) = SpecApp.report(:close, client, got: rest)
    end

    module OnlySplat
      def self.on_close(*all) = SpecApp.report(:close, all.first, got: all.drop(1))
    end

    module Keywords
      def self.on_close(client, why: :absent) = SpecApp.report(:close, client, got: [why])
    end

    Lambda = Object.new
    Lambda.define_singleton_method(:on_close, ->(client, code, reason) { SpecApp.report(:close, client, got: [code, reason]) })

    # A handwritten delegator, which passes all arguments on.
    HandDelegator = Object.new
    def HandDelegator.on_close(*arguments, &block) = OneParameter.on_close(*arguments, &block)

    # Writes before the client can have read the response to its handshake.
    module Greeter
      def self.on_open(client)
        100.times { |number| client.write(number.to_s) }
      end
    end

    # Its on_open waits for GATE.
    class Slow < SpecApp::Recorder
      GATE = Queue.new

      def on_open(client)
        super
        GATE.pop
        SpecApp.report(:opened, client)
      end
    end

    handlers = {
      "module" => AModule, "class" => AClass, "instance" => AnInstance.new, "frozen" => AnInstance.new.freeze,
      "only-open" => OnlyOpen.new, "only-message" => OnlyMessage.new, "only-close" => OnlyClose.new,
      "nothing" => Nothing.new, "proxy" => Proxy.new, "one" => OneParameter, "two" => TwoParameters,
      "three" => ThreeParameters, "optional" => OptionalParameters, "splat" => BareSplat, "only-splat" => OnlySplat,
      "keywords" => Keywords, "lambda" => Lambda, "hand-delegator" => HandDelegator, "greeter" => Greeter,
      "simple-delegator" => SimpleDelegator.new(OneParameter), "recorder" => SpecApp::Recorder.new, "slow" => Slow.new
    }

    use Rack::Lint
    run(lambda do |env|
      env["rack.upgrade"] = case (name = env["PATH_INFO"].delete_prefix("/"))
                            when "keeper" then Keeper.new
                            when "asked" then Asked.new
                            else handlers.fetch(name)
                            end
      [200, {}, []]
    end)
  CONFIG

  describe "of any kind" do
    { "module" => ["a module", "AModule"], "class" => ["a class", "AClass"], "instance" => ["an instance", "an instance"],
      "frozen" => ["a frozen instance", "an instance"] }.each do |kind, (title, name)|
      it "can be #{title}" do
        client = websocket("/#{kind}")
        event(:open, client, self: name)
        client.text("hi")
        expect(client.read_message).to eq("#{name}: hi")
        client.finish
        event(:close, client, self: name)
      end
    end

    it "is never instantiated" do
      event(:open, websocket("/class"))
      expect(app.events.all(event: "instantiated")).to be_empty
    end

    it "can be a proxy that responds through method_missing" do
      client = websocket("/proxy")
      expect_event(:open, client, extra: 0)
      client.text("hi")
      expect_event(:message, client, extra: 1)
      client.finish
      expect_event(:close, client, extra: 0)
    end

    it "is asked once for each callback whether it responds to it" do
      client = websocket("/asked")
      3.times do
        client.text("hi")
        client.read_message
      end
      client.finish
      event(:close, client)
      asked = app.events.all(event: "asked").map { |question| question[:name] }
      expect(asked).to include("on_open", "on_message", "on_close")
      expect(asked).to match_array(asked.uniq)
    end

    it "can serve many clients" do
      clients = Array.new(5) { websocket("/recorder") }
      clients.each { |client| client.text(client.id) }
      clients.each { |client| expect_event(:message, client, data: include(bytes: client.id.dump)) }
    end
  end

  describe "with few callbacks" do
    it "works without any" do
      client = websocket("/nothing")
      client.text("hi")
      client.ping("still there?")
      expect(client.read_frame).to have_attributes(opcode: :pong, payload: "still there?")
      expect(client.finish(1000)).to eq([1000, ""])
    end

    it "works with on_open alone" do
      client = websocket("/only-open")
      client.text("hi")
      expect(client.read_message).to eq("opened")
      expect(client.finish).to eq([1000, ""])
    end

    it "works with on_message alone" do
      client = websocket("/only-message")
      client.text("hi")
      expect(client.read_message).to eq("hi")
    end

    it "works with on_close alone" do
      client = websocket("/only-close")
      client.text("hi")
      client.close
      expect_event(:close, client)
    end

    it "works without any for an event stream" do
      expect(sse("/nothing").read_retry).to be_an(Integer)
    end
  end

  it "gets the same client object in every callback" do
    client = websocket("/keeper")
    expect(client.read_message).to eq("hello")
    event(:drained, client)
    2.times do
      client.text("hi")
      expect(client.read_message).to eq("noted")
      event(:drained, client)
    end
    client.finish
    event(:close, client, seen: 6, same: true, deleted: true)
  end

  describe "and the order of its callbacks:" do
    it "no other callback begins before on_open has returned" do
      client = websocket("/slow")
      client.text("early")
      event(:open, client)
      # The pong shows that the message before the ping has been read.
      client.ping
      client.read_until_frame(:pong)
      expect(story(client)).to eq([:open])
      app.ask("Slow::GATE << true")
      event(:message, client)
      expect(story(client)).to eq(%i[open opened message])
    end

    it "on_close is called after on_open even if the client disconnects meanwhile" do
      client = opened(websocket("/slow"))
      client.reset
      app.ask("Slow::GATE << true")
      event(:close, client)
      expect(story(client)).to eq(%i[open opened close])
    end

    it "on_message is called in the order of arrival, and on_close last" do
      client = websocket("/recorder")
      client.write((1..50).map { |number| WebSocketFrame.encode(:text, number.to_s) }.join)
      client.send_close(1000)
      event(:close, client)
      expect(story(client)).to eq([:open, *[:message] * 50, :close])
      bytes = app.events.all(event: "message", id: client.id).map { |message| message[:data][:bytes] }
      expect(bytes).to eq((1..50).map { |number| number.to_s.dump })
    end

    it "writes of on_open are sent after the handshake and in order" do
      client = websocket("/greeter")
      expect(Array.new(100) { client.read_message }).to eq((0..99).map(&:to_s))
    end
  end

  describe "and its on_close" do
    # What on_close is called with beside the client when the client closes with 4001 "bye".
    parameters = {
      "one" => ["(client)", []], "two" => ["(client, code = :absent)", ["absent"]], "three" => ["(client, code, reason)", [4001, "bye"]],
      "optional" => ["(client, code = :absent, reason = :absent)", [4001, "bye"]], "splat" => ["(client, *rest)", []],
      "only-splat" => ["(*all)", []], "keywords" => ["(client, why: :absent)", ["absent"]],
      "lambda" => ["a lambda's (client, code, reason)", [4001, "bye"]],
      "hand-delegator" => ["(*arguments, &block) of a delegator", []], "simple-delegator" => ["a SimpleDelegator to (client)", []]
    }
    parameters.each do |handler, (described, got)|
      it "gets the client and #{got.empty? ? "nothing else" : got} with #{described}" do
        client = websocket("/#{handler}")
        client.send_close(4001, "bye")
        expect(event(:close, client)).to include(got: got)
      end
    end
  end
end
