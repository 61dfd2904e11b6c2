# frozen_string_literal: true

require "spec_helper"

# Thread#kill can hit a thread anywhere: in the app, in a callback, in a body, while it logs an exception, or while it starts.
# It ends that thread and the current request or callback, and nothing else.
RSpec.describe "Killed threads" do
  threads = 4
  # The hook defined last runs first, so the server has stopped by now.
  after(:context) { raise "the server did not drain:\n#{@app.output}" if @app.output.include?("gave up") }

  serve <<~'CONFIG', "--threads", threads, "--drain-timeout", 20
    require "spec_app"

    # Gives a kill time to arrive while the server logs, or calls a method of the app.
    module Slow
      PAUSE = 0.002

      def log(level, message)
        hold if message.include?("to be held")
        sleep(rand * PAUSE)
        super
      end

      def hold
        LOGGING << Thread.current
        sleep
      end
    end
    LOGGING = Queue.new
    PushServer.singleton_class.prepend(Slow)

    class Failure < StandardError
      def message
        sleep(rand * Slow::PAUSE)
        "on purpose"
      end
    end

    # All its methods are slow, even respond_to?.
    class Body
      def initialize(kind) = @kind = kind

      def respond_to?(name, all = false)
        sleep(rand * Slow::PAUSE)
        { each: @kind != :call, call: @kind == :call, close: true }.fetch(name.to_sym, false)
      end

      def each
        yield "part\n" if @kind == :late
        sleep(rand * Slow::PAUSE)
        raise Failure unless @kind == :good
        yield "good"
      end

      def call(stream)
        stream << "part\n"
        raise Failure
      end

      def close = sleep(rand * Slow::PAUSE)
    end

    # Answers a number with the number, and raises for anything else.
    class Handler
      def on_message(client, data)
        raise Failure unless data.match?(/\A\d+\z/)
        client.write(data)
      end

      def on_error(client, error)
        sleep(rand * Slow::PAUSE)
        raise error if rand < 0.5
      end
    end

    class Held
      def each = raise("to be held")
      def close = SpecApp.report(:closed)
    end

    # The message "kill" ends the thread that handles it.
    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.subscribe("kills") do |_, data|
          SpecApp.report(:published, data: data)
          HOLD.pop if data == "hold"
          Thread.current.kill if data == "kill"
        end
        super
      end
    end
    HOLD = Queue.new

    class NoHeaders
      def inspect = sleep(rand * Slow::PAUSE).to_s
    end

    ARRIVED, DEPART = Queue.new, Queue.new

    # Kills threads at random moments, and returns how many.
    Object.define_method(:kill_threads) do |count, seed|
      random = Random.new(seed)
      killed = 0
      while killed < count
        sleep(random.rand * 0.03)
        thread = Thread.list.select { |it| it.name&.start_with?("push_server thread") }.sample(random: random)
        killed += 1 if thread&.kill
      end
      killed
    end

    run(lambda do |env|
      if env["rack.upgrade?"]
        env["rack.upgrade"] = env["PATH_INFO"] == "/subscribe" ? Subscriber.new : Handler.new
        next [200, {}, []]
      end

      case env["PATH_INFO"]
      when "/raise" then raise Failure
      when "/body/good", "/body/early", "/body/late", "/body/call" then [200, {}, Body.new(env["PATH_INFO"][6..].to_sym)]
      when "/headers" then [200, NoHeaders.new, []]
      when "/finished"
        env["rack.response_finished"] << ->(*) { raise Failure }
        [200, {}, ["finished"]]
      when "/held" then [200, {}, Held.new]
      when "/meet"
        ARRIVED << true
        DEPART.pop
        [200, {}, ["met"]]
      else [200, {}, ["fine"]]
      end
    end)
  CONFIG

  paths = %w[/ /raise /body/good /body/early /body/late /body/call /headers /finished]

  # Sends requests until @enough, and records the status of each, or that the connection ended without one.
  def request_until_enough(path, answers)
    until @enough
      begin
        answers << get_alone(path)
      rescue RawConnection::Ended, SystemCallError
        answers << :ended
      end
    end
  end

  def get_alone(path)
    client = Transport.requests.new(app.address)
    client.get(path).status
  ensure
    client&.close
  end

  # Whether the client's handler is still called. Numbers whose callback was killed are not answered.
  def answers?(socket, number)
    deadline = Deadline.in
    loop do
      deadline.check!("an answer to a message")
      socket.text((number += 1).to_s)
      return true if socket.read_message(seconds: 2) == number.to_s
    rescue Deadline::Missed
      next
    end
  end

  it "end the response whose exception they are logging" do
    client = http
    client.send_request("GET", "/held")
    app.ask("LOGGING.pop.kill.join; nil")
    app.events.take(event: "closed")
    expect(client.read_response.status).to eq(500)
  end

  it "leave the other messages of a channel to other threads" do
    event(:open, sse("/subscribe"))
    app.ask("PushServer.publish('kills', 'hold'); nil")
    app.events.take(event: "published", data: "hold")
    app.ask("%w[kill second third].each { |data| PushServer.publish('kills', data) }; HOLD << true; nil")
    expect(Array.new(3) { app.events.take(event: "published")[:data] }).to eq(%w[kill second third])
  end

  it "are replaced: every request is answered or its connection ends, and every client's handler is still called" do
    sockets = Array.new(4) { websocket }
    answers = paths.to_h { |path| [path, Queue.new] }
    load = answers.map { |path, queue| Thread.new { request_until_enough(path, queue) } }
    chat = Thread.new do
      sockets.each { |socket| socket.text("raise") } && sleep(0.005) until @enough
    end
    killed = app.ask("kill_threads(150, #{RSpec.configuration.seed})", seconds: 120)
    @enough = true
    [*load, chat].each(&:value)

    expect(killed).to eq(150)
    expect(answers.fetch("/").then { |queue| Array.new(queue.size) { queue.pop } }).to include(200)
    expect(answers.fetch("/raise").then { |queue| Array.new(queue.size) { queue.pop } }.uniq - [500, :ended]).to be_empty
    # As many as before can work at the same time, and no more.
    meeting = Array.new(threads) { http.send_request("GET", "/meet") }
    threads.times { app.ask("ARRIVED.pop") }
    app.ask("#{threads}.times { DEPART << true }; nil")
    expect(meeting.map { |client| client.read_response.body }).to all(eq("met"))
    eventually("the pool to have its size") do
      app.ask("Thread.list.count { |thread| thread.name&.start_with?('push_server thread') }") == threads
    end
    expect(sockets.each_with_index.map { |socket, index| answers?(socket, 1000 * index) }).to all(be(true))
  end
end
