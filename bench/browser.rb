# frozen_string_literal: true

# What push.js costs the server and Chromium over each transport:
#
#   bin/run ruby bench/browser.rb [ROUNDS]
#
# A page opens connections with push.js, and the app publishes messages of 300 bytes of JSON, which the page parses. CPU time is
# that of the server, and that of all processes of Chromium and of the program that controls it, divided by the number of messages
# that the page has got.

require "json"
require "securerandom"
%w[app_process certificate_authority script].each { |name| require_relative "../spec/support/#{name}" }

module Bench
  # Chromium with one page, and a server.
  class Browser
    CONFIG = <<~'CONFIG'
      require "spec_app"

      class Subscriber
        def on_open(client) = client.subscribe("prices")
      end

      PAGE = <<~HTML
        <!doctype html>
        <link rel="icon" href="data:,">
        <script type="module">
          import { push } from "/push.js"
          let got = 0, wanted, done
          const came = ({ json }) => { json(); if (++got === wanted) done() }
          // It gets every message after push.open.
          const connect = (number, transport) => new Promise((onnotice) => {
            push(`/prices?${number}`, { transports: [transport], onnotice, onmessage: came })
          })
          window.connect = (count, transport) => Promise.all([...Array(count).keys()].map((number) => connect(number, transport)))
          window.whole = new Promise((resolve) => { done = () => resolve(true) })
          window.want = (count) => { wanted = count; return true }
        </script>
      HTML
      MESSAGES = Array.new(100) { |n| JSON.generate(id: n, name: "Ana #{n}", prices: Array.new(40) { |k| (k + n) * 1.25 }) }

      run(lambda do |env|
        case env["PATH_INFO"]
        when "/" then [200, { "content-type" => "text/html" }, [PAGE]]
        when "/push.js" then PushServer::Javascript.call(env)
        else
          env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
          [200, {}, []]
        end
      end)
    CONFIG

    # connections, how many messages are published at a time, how often, and the pause between, in s
    LOADS = [[1, 100, 200, 0.01], [50, 20, 20, 0.01], [1, 1, 2000, 0.002], [20, 1, 500, 0.005]].freeze

    # CPU time of a process in µs.
    def self.cpu(pid)
      File.read("/proc/#{pid}/stat").split(") ").last.split.values_at(11, 12).sum(&:to_i) * 10_000
    rescue SystemCallError
      0
    end

    def self.family(pid)
      [pid, *Dir["/proc/#{pid}/task/*/children"].flat_map { |file| File.read(file).split }.flat_map { |child| family(child) }]
    rescue SystemCallError
      [pid]
    end

    def initialize(transport, *options)
      @transport = transport
      @app = AppProcess.start(CONFIG, "--threads", "1", *options, transport: :tls)
      @page = Script.new("console.js", "https://localhost:#{@app.port}/")
      @page.wait_for("ready")
    end

    # Returns the µs that a message costs the server and the browser.
    def measure(connections, burst, times, pause)
      messages = connections * burst * times
      @page.order("connect(#{connections}, '#{@transport}').then(() => want(#{messages}))")
      before = cpu
      publish = "#{burst}.times { |number| PushServer.publish('prices', MESSAGES[number]) }"
      @app.ask("#{times}.times { #{publish}; sleep #{pause} }; nil", seconds: 120)
      @page.order("whole")
      cpu.zip(before).map { |now, earlier| (now - earlier).to_f / messages }
    end

    def stop
      @page&.stop
      @app&.stop
    end

    private

    def cpu = [[@app.pid], self.class.family(@page.pid)].map { |pids| pids.sum { |pid| self.class.cpu(pid) } }
  end
end

kinds = { "event stream, HTTP/2" => ["sse"], "WebSocket, HTTP/2" => ["websocket"],
          "WebSocket, HTTP/1.1" => ["websocket", "--no-http2"] }
Bench::Browser::LOADS.each do |load|
  puts format("%d connections, %d messages at a time", *load)
  rounds = Array.new(Integer(ARGV.fetch(0, "3"))) do
    kinds.map do |_, how|
      browser = Bench::Browser.new(*how)
      browser.measure(*load)
    ensure
      browser&.stop
    end
  end
  kinds.each_key.with_index do |name, index|
    server, page = rounds.map { |round| round[index] }.transpose.map { |all| all.sort[all.size / 2].round(1) }
    puts format("  %-22s server %7.1f µs a message, browser %7.1f µs", name, server, page)
  end
end
