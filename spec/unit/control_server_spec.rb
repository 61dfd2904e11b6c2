# frozen_string_literal: true

require "json"
require "tmpdir"
require_relative "unit_helper"
require_relative "../support/deadline"
require "push_server/process/control_server"
require "push_server/process/event_loop"

RSpec.describe PushServer::ControlServer do
  # Answers as the commands of a server do, and keeps replies that it does not end.
  fake = Class.new do
    attr_reader :kept

    def initialize = @kept = Thread::Queue.new
    def status(reply) = reply.done(state: "serving")
    def stop(reply) = @kept << reply
    def reload(_reply) = raise(PushServer::Error, "no log file")
    def backtraces(_reply) = raise("a bug")
    def change_workers(reply, change) = reply.done(change: change)
    def stats(reply) = reply.done(stats: { "a" => "x" * 3_000_000 })

    def phased_restart(reply)
      reply.progress("one")
      reply.progress("two")
      reply.fail("it\n does not load")
      reply.done
    end
  end

  around { |example| Dir.mktmpdir { |dir| (@path = "#{dir}/s") && example.run } }

  let(:target) { fake.new }
  let(:events) { PushServer::EventLoop.new }
  let(:pipe) { PushServer::SelfPipe.new }

  before do
    @listener, = PushServer::Endpoint.parse("unix://#{@path}", port: 0).open
    @control = described_class.new(@listener, target, events)
    # Code for the loop's thread.
    @orders = Thread::Queue.new
    events.watch(pipe) { pipe.wait(0) && @orders.pop.call }
    @thread = Thread.new { events.run }
    @clients = []
  end

  after do
    in_loop { events.stop }
    @thread.join(Deadline::PATIENCE) or raise "the loop hangs"
    @clients.each(&:close)
    @listener.retire
  end

  def in_loop(&code)
    @orders << code
    pipe.notify("!")
  end

  def connect = UNIXSocket.new(@path).tap { |socket| @clients << socket }

  # All lines until the end of the connection.
  def answers(socket)
    lines = []
    while socket.wait_readable(Deadline::PATIENCE) && (line = socket.gets)
      lines << JSON.parse(line, symbolize_names: true)
    end
    lines
  end

  def ask(line, socket = connect)
    socket.write(line)
    answers(socket)
  end

  def command(name, **fields) = ask("#{JSON.generate({ command: name, **fields })}\n")

  it "accepts a command, answers it, and ends the connection" do
    expect(command("status")).to eq([{ accepted: true }, { ok: true, state: "serving" }])
    expect(command("workers", change: "+1").last).to eq(ok: true, change: "+1")
  end

  it "tells progress, and one end: what comes after that is dropped" do
    expect(command("phased-restart"))
      .to eq([{ accepted: true }, { progress: "one" }, { progress: "two" }, { ok: false, error: "it does not load" }])
  end

  it "answers what its owner refuses, and what goes wrong" do
    allow(PushServer).to receive(:log_exception)
    expect(command("reload").last).to eq(ok: false, error: "no log file")
    expect(command("backtraces").last).to eq(ok: false, error: "RuntimeError: a bug")
    expect(PushServer).to have_received(:log_exception)
  end

  it "answers later, while others are answered" do
    socket = connect
    socket.write(%({"command":"stop"}\n))
    reply = target.kept.pop
    expect(command("status").last).to include(ok: true)
    in_loop { reply.done(pid: 1) }
    expect(answers(socket).last).to eq(ok: true, pid: 1)
  end

  {
    "no JSON" => ["stop\n", { ok: false, error: "the command is not JSON" }],
    "JSON that is no command" => ["[1]\n", { ok: false, error: 'there is no command ""' }],
    "an unknown command" => [%({"command":"exec"}\n), { ok: false, error: 'there is no command "exec"' }],
    "a command in pieces" => [%({"command":"sta), nil]
  }.each do |what, (sent, answer)|
    it "copes with #{what}" do
      socket = connect
      socket.write(sent)
      if answer
        expect(answers(socket)).to eq([answer])
      else
        expect(ask(%(tus"}\n), socket).last).to include(ok: true)
      end
    end
  end

  it "drops a client that sends too long a line" do
    socket = connect
    socket.write("x" * 5000)
    expect(answers(socket)).to eq([])
  rescue Errno::EPIPE, Errno::ECONNRESET
    nil
  end

  it "drops a client whose answer is too long for it to wait, and goes on" do
    expect(command("stats").size).to be < 2
    expect(command("status").last).to include(ok: true)
  end

  it "does not wait for clients that say nothing, read nothing, or are gone" do
    silent = Array.new(5) { connect }
    gone = connect
    gone.write(%({"command":"stop"}\n))
    reply = target.kept.pop
    gone.close
    expect(command("status").last).to include(ok: true)
    in_loop { reply.done }
    expect(command("status").last).to include(ok: true)
    silent.each { |socket| expect(ask(%({"command":"status"}\n), socket).last).to include(ok: true) }
  end

  it "drops those that say nothing for long, so that others get their turn" do
    stub_const("PushServer::ControlServer::PATIENCE", 0.05)
    silent = Array.new(40) { connect }
    expect(command("status").last).to include(ok: true)
    expect(silent.map { |socket| answers(socket) }).to all(eq([]))
  end

  it "lets those that are too many wait, and serves them when others have ended" do
    waiting = Array.new(32) { connect.tap { |socket| socket.write(%({"command":"stop"}\n)) } }
    replies = Array.new(32) { target.kept.pop }
    late = connect
    late.write(%({"command":"status"}\n))
    expect(late.wait_readable(0)).to be_nil
    in_loop { replies.first.done }
    expect(answers(late).last).to include(ok: true)
    in_loop { replies.each(&:done) }
    expect(waiting.map { |socket| answers(socket).last }).to all(eq(ok: true))
  end

  it "says that a command without an end has failed when it closes" do
    socket = connect
    socket.write(%({"command":"stop"}\n))
    target.kept.pop
    in_loop { @control.close("the server has stopped") }
    expect(answers(socket).last).to eq(ok: false, error: "the server has stopped")
  end
end
