# frozen_string_literal: true

require "spec_helper"

# Pages with https://: what they do over HTTP/2, and over HTTP/1.1 if the server does not offer HTTP/2.
RSpec.describe "A page in Chromium with https://", transport: :tls do
  include ChannelClients

  before(:context) { skip Script.missing(:chromium) if Script.missing(:chromium) }

  config = <<~'CONFIG'
    require "spec_app"

    PushServer.channel "kept*", history: 1000

    # The path is the channel.
    class Subscriber < SpecApp::Recorder
      def on_open(client)
        channel = client.env["PATH_INFO"].delete_prefix("/")
        client.subscribe(channel)
        note(:open, client, channel: channel, protocol: client.env["SERVER_PROTOCOL"])
      end
    end

    PAGE = <<~HTML
      <!doctype html>
      <link rel="icon" href="data:,">
      <script type="module">
        import { push } from "/push.js"
        window.push = push
      </script>
      <script>
        // What each stream has got, and what waits for something to come.
        const heard = [], waiting = []
        function hear(index, data) {
          heard[index].push(data)
          waiting.forEach((look) => look())
        }
        function wait(condition) {
          return new Promise((resolve) => waiting.push(() => condition() && resolve(true)) && condition() && resolve(true))
        }
        const all = (count) => wait(() => heard.every((texts) => texts.length >= count))
        const webSockets = [], closed = (socket) => new Promise((resolve) => { socket.onclose = ({ code }) => resolve(code) })
        const closeAll = () => Promise.all(webSockets.map((socket) => [closed(socket), socket.close(1000)][0]))
        const opened = (stream) => new Promise((resolve) => { stream.onopen = resolve })
        async function open(sources, sockets, channel) {
          const begun = []
          for (let number = 0; number < sources + sockets; number += 1) {
            const index = heard.push([]) - 1, query = `/${channel}?${index}`
            const stream = number < sources ? new EventSource(query) : new WebSocket(location.origin.replace("http", "ws") + query)
            if (number < sources) stream.addEventListener("msg", ({ data }) => hear(index, data))
            else webSockets.push(Object.assign(stream, { onmessage: ({ data }) => hear(index, data) }))
            begun.push(opened(stream))
          }
          await Promise.all(begun)
        }
        const connections = []
        function connect(url, options) {
          const index = heard.push([]) - 1
          return new Promise((resolve) => {
            const onmessage = ({ data }) => hear(index, data), onnotice = () => resolve(connection.transport)
            const connection = push(url, { onmessage, onnotice, ...options })
            connections.push(connection)
          })
        }
      </script>
    HTML

    FLOOD = lambda do |stream|
      $written = 0
      loop { stream.write("x" * 65_536) && $written += 65_536 }
    ensure
      $written = nil
    end

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/" then [200, { "content-type" => "text/html" }, [PAGE]]
      when "/push.js" then PushServer::Javascript.call(env)
      when "/flood" then [200, { "content-type" => "application/octet-stream" }, FLOOD]
      else
        env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
        [200, {}, []]
      end
    end)
  CONFIG

  options = ["--threads", "3", "--retry-min", "100", "--retry-max", "200"]

  def open_page(port = app.port)
    @page = Script.new("console.js", "https://localhost:#{port}/", "network")
    @page.wait_for("ready")
  end

  after { @page&.stop }

  # The value of an expression in the page.
  def page(code)
    value = JSON.parse(@page.order(code.gsub(/\s*\n\s*/, " ")), symbolize_names: true)
    raise value[:error] if value.is_a?(Hash) && value.key?(:error)

    value
  end

  # The page's requests; those for push streams.
  def streams = page("network").reject { |request| request[:url].match?(%r{:\d+/(push.js|flood)?$}) }

  def stats(*names) = app.ask("PushServer.stats.values_at(*#{names.inspect}.map(&:to_sym))")

  # The protocols of a channel's clients, in the order in which they came.
  def protocols(channel) = app.events.all(event: "open", channel: channel).map { |event| event[:protocol] }

  # Opens EventSources and WebSockets, and waits until they have subscribed.
  def open_streams(sources, sockets, channel)
    page("open(#{sources}, #{sockets}, '#{channel}')")
    eventually { protocols(channel).size == sources + sockets }
  end

  # Publishes texts, and waits until all streams have got so many.
  def publish_to_all(channel, *texts, count: texts.size)
    publish(channel, *texts)
    page("all(#{count})")
  end

  context "over HTTP/2" do
    serve config, *options

    it "has 200 EventSources and 20 WebSockets in one connection" do
      open_page
      open_streams(200, 20, "ticks-1")
      expect(stats(:open_h2_connections, :open_connections, :open_websockets, :open_event_streams)).to eq([1, 1, 20, 200])
      publish_to_all("ticks-1", *"1".."50")
      expect(page("heard").uniq).to eq([(1..50).map(&:to_s)])
      sources, sockets = streams.partition { |request| request[:protocol] }
      expect(sources.map { |request| request.slice(:protocol, :status) }.tally).to eq({ protocol: "h2", status: 200 } => 200)
      expect(page("network").filter_map { |request| request[:connection] }.uniq.size).to eq(1)
      # Over HTTP/1.1 it would be 101.
      expect(sockets.map { |request| request[:status] }.tally).to eq(200 => 20)
      expect(page("closeAll()")).to eq([1000] * 20)
    end

    it "gets ticks on all streams while it does not read another one" do
      open_page
      open_streams(20, 5, "ticks-2")
      page("(async () => { window.stop = new AbortController(); window.flood = await fetch('/flood', stop); return true })()")
      numbers = 0
      # The app can write no more when the page's buffers and windows for this stream are full.
      eventually("the stream to stall", seconds: 60) do
        written = app.ask("$written")
        publish_to_all("ticks-2", *((numbers + 1)..(numbers += 100)).map(&:to_s), count: numbers)
        written && app.ask("$written") == written
      end
      expect(page("heard").uniq).to eq([(1..numbers).map(&:to_s)])
      page("stop.abort()")
      eventually { app.ask("$written").nil? }
      publish_to_all("ticks-2", "last", count: numbers + 1)
      expect(stats(:open_h2_connections)).to eq([1])
    end

    it "gets on each EventSource exactly what it missed while the connection was lost" do
      tunnel = Tunnel.new(app.port)
      open_page(tunnel.port)
      open_streams(50, 0, "kept-1")
      publish_to_all("kept-1", *"1".."5")
      tunnel.enter
      publish("kept-1", *"6".."9")
      tunnel.leave
      page("all(9)")
      publish_to_all("kept-1", "10", count: 10)
      expect(page("heard").uniq).to eq([(1..10).map(&:to_s)])
    ensure
      tunnel&.close
    end
  end

  { "over HTTP/2" => [[], "h2", "HTTP/2", "sse"], "without HTTP/2" => [["--no-http2"], "http/1.1", "HTTP/1.1", "websocket"] }
    .each do |how, (switches, protocol, name, usual)|
    context "#{how}, with push.js" do
      serve config, *options, *switches

      it "gets exactly what it missed, over each transport; if it names none, over #{usual}" do
        tunnel = Tunnel.new(app.port)
        open_page(tunnel.port)
        expect(page("performance.getEntriesByType('navigation')[0].nextHopProtocol")).to eq(protocol)
        transports = { "usual" => "{}", **%w[websocket sse poll].to_h { |it| [it, "{ transports: ['#{it}'] }"] } }
        opened = transports.map { |channel, what| page("connect('/kept-#{channel}', #{what})") }
        expect(opened).to eq([usual, "websocket", "sse", "poll"])
        transports.each_key { |channel| publish("kept-#{channel}", *"1".."5") }
        page("all(5)")
        tunnel.enter
        transports.each_key { |channel| publish("kept-#{channel}", *"6".."9") }
        tunnel.leave
        page("all(9)")
        transports.each_key { |channel| publish("kept-#{channel}", "10") }
        page("all(10)")
        expect(page("heard")).to eq([(1..10).map(&:to_s)] * 4)
        %w[usual sse poll].each { |channel| expect(protocols("kept-#{channel}").uniq).to eq([name]) }
        # Chromium opens a WebSocket within a connection that it has. If it has none, it opens one for HTTP/1.1.
        expect(protocols("kept-websocket").first).to eq(name)
      ensure
        tunnel&.close
      end

      next if switches.any?

      it "uses one connection for ten subscriptions, whatever the transport" do
        open_page
        ["{}", *%w[sse websocket poll].map { |it| "{ transports: ['#{it}'] }" }].each_with_index do |what, round|
          page("Promise.all([...Array(10).keys()].map((number) => connect(`/kept-ten-#{round}?${number}`, #{what})))")
          publish("kept-ten-#{round}", "1", "2")
          page("all(2)")
          expect(page("heard")).to eq([%w[1 2]] * 10)
          expect(stats(:open_connections)).to eq([1])
          page("connections.splice(0).forEach((one) => one.close()), heard.splice(0).length")
        end
      end
    end
  end

  context "without HTTP/2, with ten subscriptions to the same by push.js" do
    serve config, *options, "--no-http2"

    it "uses one WebSocket, and one event stream" do
      open_page
      %w[websocket sse].each do |transport|
        page("Promise.all([...Array(10).keys()].map(() => connect('/kept-same', { transports: ['#{transport}'] })))")
      end
      publish_to_all("kept-same", "1", "2")
      expect(page("heard")).to eq([%w[1 2]] * 20)
      expect(stats(:open_websockets, :open_event_streams)).to eq([1, 1])
    end
  end
end
