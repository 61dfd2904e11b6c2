# frozen_string_literal: true

require "push_server"
require "spec_app"

# A page, or a program, with three event streams. It reports all events to the app.
#
# "quiet" is for what comes between two events. The other two end at once and are opened again by their clients: "ending" has
# sent nothing but `retry:`, and "empty" nothing at all, so that the client's own pause counts there.
SCRIPT = <<~JAVASCRIPT
  export function start(base, EventSource) {
    const heard = []
    const hear = (...what) => {
      heard.push(what)
      fetch(`${base}/heard`, { method: "POST", body: JSON.stringify(heard) }).catch(() => {})
    }
    const quiet = new EventSource(`${base}/quiet?quiet`)
    for (const type of ["msg", "message"]) quiet.addEventListener(type, ({ data }) => hear(type, data))
    const ending = new EventSource(`${base}/ending?ending`)
    // The pause of "empty" begins after the one of "ending".
    ending.addEventListener("error", () => new EventSource(`${base}/empty`), { once: true })
  }
JAVASCRIPT

PAGE = %(<script type="module">import { start } from "/script.js"; start(location.origin, EventSource)</script>)

quiet = SpecApp::Recorder.new(open: ->(client) { client.timeout = 0.05 })
visits = 0
ending = SpecApp::Recorder.new(open: ->(client) { client.close if (visits += 1).odd? })

run(lambda do |env|
  case env["PATH_INFO"]
  when "/" then [200, { "content-type" => "text/html" }, [PAGE]]
  when "/script.js" then [200, { "content-type" => "text/javascript" }, [SCRIPT]]
  when "/heard"
    SpecApp.report(:heard, heard: JSON.parse(env["rack.input"].read))
    [204, {}, []]
  when "/empty"
    SpecApp.report(:empty)
    [200, { "content-type" => "text/event-stream" }, []]
  else
    env["rack.upgrade"] = env["PATH_INFO"] == "/quiet" ? quiet : ending
    [200, {}, []]
  end
end)
