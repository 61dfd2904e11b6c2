# frozen_string_literal: true

require "spec_helper"

# A child that is forked without a block returns into the library. The library must end it, without waiting for locks of
# threads that the child does not have, and without writing to the parent's clients. In src/push/client/forked.rs every lock
# is held during the fork. Here the reactor is merely busy.
RSpec.describe "A child that is forked without a block" do
  before { skip "this Ruby does not fork" unless Process.respond_to?(:fork) }

  serve <<~'CONFIG', "--threads", "4", "--log-level", "debug"
    require "spec_app"

    CHILDREN = Queue.new

    # The child must not report anything: its output is its parent's.
    def Object.fork_here
      child = fork
      CHILDREN << child if child
      child
    end

    # The exit status of the next child. A child that waits for a lock is killed.
    def Object.end_of_child
      pid = CHILDREN.pop
      waiter = Process.detach(pid)
      return waiter.value.exitstatus if waiter.join(20)

      Process.kill("KILL", pid)
      "blocked"
    end

    class Body
      def initialize(place) = @place = place

      def each
        yield "one "
        Object.fork_here if @place == "each"
        yield "two"
      end

      def close = (Object.fork_here if @place == "close")
    end

    class Forking < SpecApp::Recorder
      def initialize(place)
        super()
        @place = place
      end

      def on_open(client)
        client.subscribe("forks") { |_, _| @place == "block" ? Object.fork_here : nil }
        SpecApp.remember(client)
        SpecApp.report(:open, client) if @place != "on_open" || Object.fork_here
      end

      def on_message(client, data)
        in_parent = @place == "on_message" ? Object.fork_here : true
        client.handler = Successor.new if data == "swap"
        client.write(data) if in_parent || client.write("from the child")
      end

      def on_close(client, code, reason)
        return if @place == "on_close" && Object.fork_here.nil?

        SpecApp.report(:close, client)
      end
    end

    class Successor < SpecApp::Recorder
      def on_open(client) = client.write("succeeded")
    end

    Thread.new { loop { SpecApp.clients.each { |client| client.write("tick") }; sleep 0.002 } }

    run(lambda do |env|
      place = env["PATH_INFO"].delete_prefix("/")
      if env["rack.upgrade?"]
        env["rack.upgrade"] = Forking.new(place)
        Object.fork_here if place == "accept"
        next [200, {}, []]
      end

      case place
      when "call" then [200, {}, ["from #{Object.fork_here ? "the parent" : "a child"}"]]
      when "each", "close" then [200, {}, Body.new(place)]
      when "stream" then [200, {}, ->(stream) { stream << "one "; Object.fork_here; stream << "two"; stream.close }]
      when "hints"
        env["rack.early_hints"].call({ "link" => "</a>" }) unless Object.fork_here
        [200, {}, ["hinted"]]
      when "hijack"
        next [200, {}, ["the parent"]] if Object.fork_here

        env["rack.hijack"].call
      when "raise" then raise("in #{Object.fork_here ? "the parent" : "a child"}")
      else [200, {}, ["fine"]]
      end
    end)
  CONFIG

  # The status is 1 when an exception ends the child.
  def expect_child_to_end = expect(app.ask("Object.end_of_child", seconds: 30)).to be(0).or be(1)

  { "call" => "from the parent", "each" => "one two", "close" => "one two", "stream" => "one two", "hints" => "hinted",
    "hijack" => "the parent", "raise" => "Internal Server Error\n" }.each do |place, body|
    it "ends, and its parent answers the request: #{place}" do
      3.times do
        expect(get("/#{place}").body).to eq(body)
        expect_child_to_end
      end
      expect(get("/").body).to eq("fine")
    end
  end

  # The next message that is not a tick.
  def read_answer(client)
    loop do
      message = client.read_message
      return message unless message == "tick"
    end
  end

  %w[accept on_open on_message on_close block].each do |place|
    it "ends, and its parent's client stays open: #{place}" do
      client = opened(websocket("/#{place}"))
      client.text("hello")
      expect(read_answer(client)).to eq("hello")
      app.ask("PushServer.publish('forks', 'x'); nil") if place == "block"
      client.text("swap")
      expect(read_answer(client)).to eq("swap")
      event(:close, client)
      expect(read_answer(client)).to eq("succeeded")
      (place == "on_message" ? 2 : 1).times { expect_child_to_end }
    end
  end
end
