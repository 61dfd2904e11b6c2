# frozen_string_literal: true

require "spec_helper"

# Firefox with its EventSource, and push.js over each transport. The page tells the app which messages it has got.
RSpec.describe "Firefox", :full do
  include ChannelClients

  before(:context) { skip Firefox.missing if Firefox.missing }

  serve <<~'CONFIG', "--threads", "2", "--retry-min", "100", "--retry-max", "200"
    require "spec_app"
    require "push_server"

    PushServer.channel "kept*", history: 100

    class Subscriber < SpecApp::Recorder
      def on_open(client)
        client.subscribe(client.env["PATH_INFO"].delete_prefix("/"))
        note(:open, client, channel: client.env["PATH_INFO"].delete_prefix("/"), since: client.last_event_id)
      end
    end

    # Sends all messages each time, so that a lost report does not matter.
    PAGE = <<~HTML
      <script type="module">
        import { push } from "/push.js"
        const heard = { eventsource: [], websocket: [], sse: [], poll: [] }
        function hear(transport, data) {
          heard[transport].push(data)
          fetch("/heard", { method: "POST", body: JSON.stringify(heard) }).catch(() => {})
        }
        const cursor = "CURSOR"
        const source = new EventSource(`/kept-eventsource?last_event_id=${cursor}`)
        source.addEventListener("msg", ({ data }) => hear("eventsource", data))
        for (const transport of ["websocket", "sse", "poll"])
          push(`/kept-${transport}`, { cursor, transports: [transport], onmessage: ({ data }) => hear(transport, data),
                                       ongap: () => hear(transport, "gap") })
      </script>
    HTML

    run(lambda do |env|
      case env["PATH_INFO"]
      when "/page"
        cursor = PushServer.cursor
        SpecApp.report(:page)
        [200, { "content-type" => "text/html" }, [PAGE.sub("CURSOR", cursor)]]
      when "/push.js" then PushServer::Javascript.call(env)
      when "/heard"
        SpecApp.report(:heard, heard: JSON.parse(env["rack.input"].read))
        [204, {}, []]
      else
        env["rack.upgrade"] = Subscriber.new if env["rack.upgrade?"]
        [200, {}, []]
      end
    end)
  CONFIG

  transports = %w[eventsource websocket sse poll]

  # Waits until the page has reported that many messages for each transport, and returns them.
  define_method(:heard) do |count|
    whole = ->(heard) { heard.values.all? { |all| all.size >= count } }
    app.events.take(event: "heard", heard: whole, seconds: 60).fetch(:heard)
  end

  define_method(:publish_to_all) do |numbers|
    transports.each { |transport| publish("kept-#{transport}", *numbers.map(&:to_s)) }
  end

  it "gets exactly what it missed over each transport, before it connected and after a lost connection" do
    tunnel = Tunnel.new(app.port)
    firefox = Firefox.new("#{tunnel.url}/page")
    app.events.take(event: "page", seconds: 60)
    publish_to_all(1..2)
    transports.each { |transport| app.events.take(event: "open", channel: "kept-#{transport}", seconds: 60) }
    publish_to_all(3..5)
    heard(5)
    tunnel.enter
    publish_to_all(6..9)
    tunnel.leave
    heard(9)
    publish_to_all([10])
    expect(heard(10)).to eq(transports.to_h { |transport| [transport.to_sym, (1..10).map(&:to_s)] })
  ensure
    firefox&.stop
    tunnel&.close
  end
end
