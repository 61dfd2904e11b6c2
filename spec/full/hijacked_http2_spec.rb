# frozen_string_literal: true

require_relative "framework"

# Libraries that take WebSockets by rack.hijack, unchanged. Chromium has all its WebSockets within one connection of HTTP/2
# (RFC 8441), so the libraries get one end of a pair of sockets, and not the connection.
RSpec.describe "In Chromium over HTTP/2", :full, transport: :tls do
  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  around { |example| Dir.mktmpdir { |dir| (@network_log = File.join(dir, "network.json")) && example.run } }

  before { open_page }
  after { @page.stop }

  def open_page
    @page = Script.new("console.js", "https://localhost:#{app.port}/page", "network", @network_log)
    @page.wait_for("ready")
    # What the page has heard, and a way to wait for more.
    page(<<~JS)
      (() => {
        const heard = [], waiting = [];
        const look = () => { while (waiting.length && heard.length >= waiting[0].count) waiting[0].resolve(heard.splice(0, waiting.shift().count)) };
        window.hear = (what) => { heard.push(what); look() };
        window.take = (count) => new Promise((resolve) => { waiting.push({ count, resolve }); look() })
      })()
    JS
  end

  # The value of an expression in the page.
  def page(code)
    value = JSON.parse(@page.order(code.gsub(/\s*\n\s*/, " ")), symbolize_names: true)
    raise value[:error] if value.is_a?(Hash) && value.key?(:error)

    value
  end

  # The next things that the page hears.
  def take(count) = page("take(#{count})")

  # The WebSockets that the browser has opened by RFC 8441, as its log of the network tells: the number of each one's connection.
  # The log has an event for the request, and another one for what the connection sends.
  def connections_of_websockets
    events = File.readlines(@network_log).grep(/:protocol: websocket/).map { |line| JSON.parse(line.strip.chomp(",")) }
    events.select { |event| event["params"]["stream_id"] }.map { |event| event["source"]["id"] }
  end

  # So many WebSockets were opened, all in the page's connection.
  def expect_one_connection(websockets)
    eventually("#{websockets} WebSockets in the browser's log") { connections_of_websockets.size == websockets }
    expect(connections_of_websockets.uniq.size).to eq(1)
    statuses = page("network").select { |request| request[:url].start_with?("wss:") }.map { |request| request[:status] }
    expect(statuses).to eq([200] * websockets)
    expect(app.ask("PushServer.stats.values_at(:open_connections, :open_h2_connections)")).to eq([1, 1])
  end

  describe "faye-websocket" do
    # Opens a WebSocket with a name, which the page hears.
    def connect(name)
      page(<<~JS)
        new Promise((resolve) => {
          const socket = window.socket = new WebSocket(`wss://${location.host}/?#{name}`);
          socket.binaryType = "arraybuffer";
          socket.onopen = () => resolve(true);
          socket.onmessage = ({ data }) => hear(typeof data === "string" ? data : [...new Uint8Array(data)]);
          socket.onclose = ({ code, reason, wasClean }) => hear([code, reason, wasClean])
        })
      JS
    end

    context "while the server runs" do
      Framework.serve(self, "faye", "faye-websocket")

      it "gets and sends text and bytes of any length" do
        connect("echo")
        page("[socket.send('grüße'), socket.send(new Uint8Array([0, 255]))]")
        expect(take(2)).to eq(["grüße", [0, 255]])
        # More than the windows of the stream, in both directions.
        page("[window.long = 'é'.repeat(500000), socket.send(long)].length")
        expect(page("take(1).then(([data]) => data === long)")).to be(true)
        expect_one_connection(1)
      end

      it "closes, and is closed, with a code and a reason" do
        connect("closes")
        page("socket.close(4001, 'bye')")
        expect(take(1)).to eq([[4001, "bye", true]])
        expect(app.events.take(event: "close", id: "closes")).to include(code: 4001, reason: "bye")
        connect("closed")
        page("socket.send('close me')")
        expect(take(1)).to eq([[4002, "as you wish é", true]])
        expect_one_connection(2)
      end

      it "shares the connection with requests and other WebSockets" do
        20.times do |number|
          connect("many-#{number}")
          page("socket.send('#{number}')")
          expect(take(1)).to eq([number.to_s])
        end
        expect(page("fetch('/').then((response) => response.text())")).to eq("true")
        expect_one_connection(20)
      end

      it "notices that the page is gone" do
        connect("gone")
        @page.stop
        expect(app.events.take(event: "close", id: "gone")).to include(code: 1006)
      end
    end

    context "when the server stops" do
      Framework.serve(self, "faye", "faye-websocket")

      it "holds up no stop, and the page is told" do
        connect("drained")
        expect(app.stop).to be_success
        expect(take(1)).to eq([[1006, "", false]])
      end
    end
  end

  describe "Faye" do
    # Loads Faye's own script, and subscribes: then it has changed from requests to a WebSocket. The page hears what is published.
    def subscribe(channel)
      page(<<~JS)
        new Promise((resolve) => {
          const script = document.createElement("script");
          script.src = "/faye-browser.js";
          script.onload = () => resolve(true);
          document.head.append(script)
        }).then(() => {
          window.faye = new Faye.Client("/faye");
          faye.on("transport:down", () => hear("down"));
          return faye.subscribe("#{channel}", hear).then(() => true)
        })
      JS
    end

    context "while the server runs" do
      Framework.serve(self, "faye_channels", "faye")

      it "publishes to its subscribers, and lets them go" do
        subscribe("/news")
        page("faye.publish('/news', 'grüße').then(() => true)")
        expect(take(1)).to eq(["grüße"])
        page("[window.long = 'é'.repeat(200000), faye.publish('/news', { long })].length")
        expect(page("take(1).then(([data]) => data.long === long)")).to be(true)
        expect_one_connection(1)
        page("faye.disconnect()")
        app.events.take(event: "disconnected")
      end
    end

    context "when the server stops" do
      Framework.serve(self, "faye_channels", "faye")

      it "holds up no stop, and the page is told" do
        subscribe("/news")
        expect(app.stop).to be_success
        expect(take(1)).to eq(["down"])
      end
    end
  end

  describe "ActionCable" do
    # Logs in, loads Rails' own script, and subscribes. The page hears when it is connected.
    def subscribe(name)
      page("fetch('/login', { method: 'POST', body: new URLSearchParams({ name: '#{name}' }) }).then((response) => response.text())")
      page(<<~JS)
        new Promise((resolve) => {
          const script = document.createElement("script");
          script.src = "/action_cable.js";
          script.onload = () => resolve(true);
          document.head.append(script)
        }).then(() => {
          window.consumer = ActionCable.createConsumer();
          window.news = consumer.subscriptions.create("NewsChannel", {
            connected() { hear("connected") },
            disconnected() { hear("disconnected") },
            received(data) { hear(data) }
          });
          return true
        })
      JS
      expect(take(1)).to eq(["connected"])
    end

    context "while the server runs" do
      Framework.serve(self, "rails", "railties", "actioncable")

      it "broadcasts, and is sent to" do
        subscribe("ann")
        page("fetch('/broadcast?text=hello').then((response) => response.status)")
        expect(take(1)).to eq([{ from: "the page", text: "hello" }])
        page("news.perform('speak', { text: 'grüße' })")
        expect(take(1)).to eq([{ from: "ann", text: "grüße" }])
        page("[window.long = 'é'.repeat(500000), news.perform('speak', { text: long })].length")
        expect(page("take(1).then(([data]) => data.text === long)")).to be(true)
        expect_one_connection(1)
      end

      it "is closed from both sides, and opened again" do
        subscribe("bob")
        app.ask("ActionCable.server.remote_connections.where(name: 'bob').disconnect; nil")
        app.events.take(event: "disconnected", name: "bob")
        expect(take(2)).to eq(%w[disconnected connected])
        page("consumer.disconnect()")
        app.events.take(event: "disconnected", name: "bob")
        expect_one_connection(2)
      end
    end

    context "when the server stops" do
      Framework.serve(self, "rails", "railties", "actioncable")

      it "holds up no stop, and the page is told" do
        subscribe("eve")
        expect(app.stop).to be_success
        expect(take(1)).to eq(["disconnected"])
      end
    end
  end
end
