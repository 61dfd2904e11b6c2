// event_source_page.js URL: does what the page of spec/apps/event_source does, with npm's eventsource, until it is stopped.
import { EventSource } from "eventsource"

const [url] = process.argv.slice(2)
const source = await (await fetch(`${url}/script.js`)).text()
const { start } = await import(`data:text/javascript,${encodeURIComponent(source)}`)
start(url, EventSource)
