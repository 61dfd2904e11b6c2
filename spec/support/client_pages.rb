# frozen_string_literal: true

require_relative "docs_page"
require_relative "script"

# For specs of docs/clients.md: the app of that page. It also serves the page's snippets as pages for a browser, and the packages
# from npm that they load.
module ClientPages
  DOCS = DocsPage.new("clients.md")

  # Heading => what the client does after its connection was lost, or ended by the server: it resumes, it returns without the messages
  # that it has missed, or it stays away.
  BEHAVIOUR = {
    "EventSource" => { lost: :resumes, ended: :resumes },
    "Turbo over SSE" => { lost: :resumes, ended: :resumes },
    "Turbo over WebSocket" => { lost: :stays_away, ended: :stays_away },
    "htmx 2 over SSE" => { lost: :resumes, ended: :resumes },
    "htmx 2 over WebSocket" => { lost: :returns, ended: :stays_away, restarted: :returns },
    "htmx 4 over SSE" => { lost: :resumes, ended: :resumes },
    "htmx 4 over WebSocket" => { lost: :returns, ended: :returns, closed: :stays_away },
    "Datastar" => { lost: :resumes, ended: :stays_away },
    "Datastar by POST" => { lost: :resumes, ended: :stays_away },
    "fetch-event-source" => { lost: :resumes, ended: :resumes },
    "fetch-event-source by POST" => { lost: :resumes, ended: :resumes },
    "reconnecting-websocket" => { lost: :resumes, ended: :resumes }
  }.freeze

  # The name under which a page loads a package => its path in node_modules.
  PACKAGES = {
    "turbo.js" => "@hotwired/turbo/dist/turbo.es2017-esm.js",
    "htmx.js" => "htmx.org/dist/htmx.min.js",
    "htmx-ext-sse.js" => "htmx-ext-sse/dist/sse.min.js",
    "htmx-ext-ws.js" => "htmx-ext-ws/dist/ws.min.js",
    "htmx4.js" => "htmx4/dist/htmx.min.js",
    "hx-sse.js" => "htmx4/dist/ext/hx-sse.min.js",
    "hx-ws.js" => "htmx4/dist/ext/hx-ws.min.js",
    "datastar.js" => "@starfederation/datastar/dist/datastar.js",
    "reconnecting-websocket.js" => "reconnecting-websocket/dist/reconnecting-websocket.mjs",
    "eventsource-parser.js" => "eventsource-parser/dist/index.js",
    "fetch-event-source.js" => "@microsoft/fetch-event-source/lib/esm/index.js",
    "parse" => "@microsoft/fetch-event-source/lib/esm/parse.js",
    "fetch" => "@microsoft/fetch-event-source/lib/esm/fetch.js"
  }.transform_values { |path| File.join(Script::DIR, "node_modules", path) }.freeze

  # Tells the app all that the page shows, and sends a message when it is asked to. `attempts` counts the connections that were begun,
  # including failed ones; `ends` counts those that the page knows to have ended.
  HARNESS = <<~HTML
    <!DOCTYPE html>
    <meta charset="utf-8">
    <script>
      let attempts = 0
      let ends = 0
      const ended = () => { ends += 1 }
      window.EventSource = class extends EventSource { constructor(...all) { super(...all); attempts += 1 } }
      window.WebSocket = class extends WebSocket {
        constructor(...all) {
          super(...all)
          attempts += 1
          this.addEventListener("close", ended)
        }
      }
      const request = window.fetch
      window.fetch = async (url, ...all) => {
        if (!String(url?.url ?? url).includes("/events")) return request(url, ...all)
        attempts += 1
        const response = await request(url, ...all)
        response.clone().text().then(ended, ended)
        return response
      }

      function show(text) {
        const item = document.createElement("li")
        item.textContent = text
        document.querySelector("#messages").append(item)
      }

      addEventListener("DOMContentLoaded", () => {
        if (!document.querySelector("#messages")) document.body.insertAdjacentHTML("beforeend", "<ul id=messages></ul>")
        new MutationObserver(() => {
          const heard = [...document.querySelectorAll("#messages li")].map((item) => item.textContent)
          request("/heard" + location.search, { method: "POST", body: JSON.stringify(heard) }).catch(() => {})
          if (heard.at(-1) !== "say it") return
          if (window.say) return say("said by " + location.search.slice(1))
          document.forms[0].elements.text.value = "said by " + location.search.slice(1)
          document.forms[0].requestSubmit()
        }).observe(document.querySelector("#messages"), { childList: true })
      })
    </script>
  HTML

  # The app of the page, and around it what the specs need. `$clients` has the newest client for each host that clients have connected
  # to. Each example has a tunnel, and so a host, of its own: the client of a page that another example has closed may still return.
  CONFIG = <<~'CONFIG'
    require "spec_app"

    $clients = {}
    documented = Array(Rack::Builder.parse_file("documented.ru")).first
    PAGES, PACKAGES = JSON.parse(File.read("pages.json")).values_at("pages", "packages")
    HTML = { "content-type" => "text/html; charset=utf-8" }.freeze

    News.singleton_class.prepend(Module.new do
      def on_open(client)
        super
        host = client.env["HTTP_HOST"]
        $clients[host] = client
        SpecApp.report(:open, client: client.object_id, host: host, since: client.last_event_id)
      end

      def on_close(client) = SpecApp.report(:close, client: client.object_id)
    end)

    run(lambda do |env|
      name = env["PATH_INFO"].delete_prefix("/")
      if PAGES.key?(name) then [200, HTML, [PAGES[name].sub("localhost:9292", env["HTTP_HOST"])]]
      elsif PACKAGES.key?(name) then [200, { "content-type" => "text/javascript" }, [File.read(PACKAGES[name])]]
      elsif name == "heard"
        SpecApp.report(:heard, page: env["QUERY_STRING"], heard: JSON.parse(env["rack.input"].read))
        [204, {}, []]
      else documented.call(env)
      end
    end)
  CONFIG

  # In an example group: serves the app and a page for each of these headings, under `path_of(heading)`.
  def self.serve(group, headings)
    pages = headings.to_h { |heading| [path_of(heading), HARNESS + DOCS.code(heading, "html")] }
    files = { "documented.ru" => DOCS.code("The server", "ruby"), "pages.json" => JSON.generate(pages: pages, packages: PACKAGES) }
    group.serve CONFIG, "--sse-event", "", "--retry-min", "100", "--retry-max", "200", "--sse-heartbeat", "0.1", files: files
  end

  def self.path_of(heading) = heading.downcase.gsub(/\W+/, "-")

  # Publishes texts, each in the form that the entry says.
  def publish(heading, *texts)
    form = DOCS.code(heading, "ruby")
    app.ask("#{texts.inspect}.each { |text| #{form} }; nil")
  end

  # Waits until the page, which was opened with this query, shows so many texts, and returns them.
  def heard(count, page)
    app.events.take(event: "heard", page: page, heard: ->(heard) { heard.size >= count }, seconds: 60).fetch(:heard)
  end

  # Codes of a Close frame. An event stream just ends.
  CODES = { ended: 1001, closed: 1000, restarted: 1012 }.freeze

  # Disconnects the newest client while no client can connect, publishes, and lets it return. `cut` is :lost, both ends
  # of the connection are reset, or a key of CODES, the server closes it; with 1001 as when it stops.
  def away(cut, heading, *texts)
    cut == :lost ? tunnel.enter : tunnel.hold
    app.ask("$clients.fetch(#{host.inspect}).close(#{CODES[cut]}); nil") if CODES.key?(cut)
    app.events.take(event: "close", client: @client)
    publish(heading, *texts)
    tunnel.leave
  end

  # The host that the page or program connects to.
  def host = "127.0.0.1:#{tunnel.port}"

  # Waits for the next client; returns the id it came back with.
  def opened
    event = app.events.take(event: "open", host: host, seconds: 60)
    @client = event.fetch(:client)
    event.fetch(:since)
  end

  # The page, which was cut off before 4 and 5, comes back and shows them, and what is new.
  def resumes(heading)
    expect(opened).to match(/\A\h+-\d+\z/)
    publish(heading, "6")
    expect(heard(6, @page)).to eq(["1", "2 & <b>", *"3".."6"])
  end

  # It comes back, and shows what is new.
  def returns(heading)
    expect(opened).to be_nil
    publish(heading, "6")
    expect(heard(4, @page)).to eq(["1", "2 & <b>", "3", "6"])
  end
end
