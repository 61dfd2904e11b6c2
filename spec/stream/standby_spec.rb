# frozen_string_literal: true

require "spec_helper"

# The thread that drives the reactor while no thread of the app does: it must be there in time, and otherwise sleep.
RSpec.describe "The standby thread" do
  config = <<~'CONFIG'
    require "spec_app"

    GATE = Queue.new
    hold = lambda do
      SpecApp.report(:held, pid: Process.pid)
      GATE.pop
    end
    handler = SpecApp::Recorder.new(message: ->(*) { hold.call })
    run(lambda do |env|
      hold.call if env["PATH_INFO"] == "/hold"
      env["rack.upgrade"] = handler if env["rack.upgrade?"]
      [200, { "content-type" => "text/plain" }, ["from the app"]]
    end)
  CONFIG
  files = { "public/file.txt" => "from the disk", "public/large.bin" => "x" * 1_000_000 }

  # What needs no thread of the app, over old connections and new ones.
  def expect_served_without_the_app(socket, requests)
    5.times { socket.pong(socket.read_until_frame(:ping).payload) }
    socket.ping("alive?")
    expect(socket.read_until_frame(:pong).payload).to eq("alive?")
    [*requests, http].each do |client|
      expect(client.get("/file.txt").body).to eq("from the disk")
      expect(client.get("/large.bin").body.bytesize).to eq(1_000_000)
    end
  end

  context "with one thread of the app" do
    serve config, "--threads", "1", "--public", "public", "--ping-interval", "0.1", files: files

    let!(:socket) { opened(websocket) }
    let!(:requests) { Array.new(3) { http }.each { |client| client.get("/file.txt") } }

    def expect_the_app_to_answer(held)
      expect(held.read_response.body).to eq("from the app")
      expect(get("/").body).to eq("from the app")
    end

    it "serves files, pings and new connections while a request goes on that came after a pause" do
      socket.pong(socket.read_until_frame(:ping).payload)
      held = http.send_request("GET", "/hold")
      app.events.take(event: "held")
      expect_served_without_the_app(socket, requests)
      app.ask("GATE << true; nil")
      expect_the_app_to_answer(held)
    end

    it "does so while a request goes on that came among others" do
      # These come from threads, so that batches follow each other closely until the only thread is held.
      busy = Array.new(4) { http }.map { |client| Thread.new { 100.times { client.get("/") } } }
      held = http.send_request("GET", "/hold")
      app.events.take(event: "held")
      expect_served_without_the_app(socket, requests)
      app.ask("GATE << true; nil")
      busy.each(&:join)
      expect_the_app_to_answer(held)
    end

    it "does so while a handler goes on, again and again" do
      handled = opened(websocket)
      3.times do
        handled.text("hold")
        app.events.take(event: "held")
        expect_served_without_the_app(socket, requests)
        app.ask("GATE << true; nil")
        expect(get("/").body).to eq("from the app")
      end
    end

    # Until it had a timer it woke four times a request.
    it "does not wake for quick requests", if: ProcessCost.available? do
      client = http
      eventually("the thread to sleep through most of 50 requests") do
        before = ProcessCost.waits(app.pid, "push_standby")
        50.times do
          expect(client.get("/").body).to eq("from the app")
          # A pause of some ticks, so that the app's thread has gone to sleep. It may be longer.
          sleep 0.003
        end
        ProcessCost.waits(app.pid, "push_standby") - before < 25
      end
    end

    # It looks whether jobs are taken only if a thread could be woken for them.
    it "sleeps while requests wait for the only thread", if: ProcessCost.available? do
      held = http.send_request("GET", "/hold")
      app.events.take(event: "held")
      waiting = Array.new(3) { http.send_request("GET", "/") }
      # For the pings it wakes ten times a second.
      eventually("the thread to wake less often than 50 times a second") do
        before = ProcessCost.waits(app.pid, "push_standby")
        sleep 0.5
        ProcessCost.waits(app.pid, "push_standby") - before < 25
      end
      app.ask("GATE << true; nil")
      [held, *waiting].each { |client| expect(client.read_response.body).to eq("from the app") }
    end
  end

  it "is there in each of two workers" do
    start_app(config, "-w", "2", "--threads", "1", "--public", "public", files: files)
    held = []
    eventually("both workers to be held") do
      held << http.send_request("GET", "/hold")
      app.events.take(event: "held", seconds: 1)
      app.events.all(event: "held").map { |event| event[:pid] }.uniq.size == 2
    rescue Deadline::Missed
      false # This request waits behind another one.
    end
    20.times { expect(get("/file.txt").body).to eq("from the disk") }
  end
end
