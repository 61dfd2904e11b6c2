// eventsource_client.js URL: reads the stream of foreign_clients_spec.rb through npm's eventsource, through one
// reconnection, and prints what it got.
import { EventSource } from "eventsource"

const [url] = process.argv.slice(2)
const events = []
let opened = 0

const source = new EventSource(`${url}/events`)
source.onopen = () => { opened += 1 }

await new Promise((resolve) => {
  for (const type of ["msg", "tick", "message", "end"]) {
    source.addEventListener(type, ({ data }) => {
      events.push({ type, data })
      if (type === "end") resolve()
    })
  }
})
source.close()

console.log(JSON.stringify({ events, opened }))
