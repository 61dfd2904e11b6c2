// full_queue.js URL: opens a page, and once told to ("go" on stdin) an EventSource in it. Prints "ready" before, "waiting"
// when the stream was ended and the browser means to come back, and at last the event it got and the statuses it saw.
import { createInterface } from "node:readline"
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

const result = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  const statuses = []
  page.on("response", (response) => response.url().endsWith("/events") && statuses.push(response.status()))
  await page.goto(`${url}/page`)
  console.log("ready")
  await lines.next()
  process.stdin.destroy()
  await page.evaluate(() => {
    window.errors = []
    const source = new EventSource("/events")
    source.onerror = () => window.errors.push(source.readyState)
    source.addEventListener("msg", (event) => { window.message = event.data })
  })
  await page.waitForFunction(() => window.errors.length > 0)
  console.log("waiting")
  const message = await (await page.waitForFunction(() => window.message)).jsonValue()
  return { message, statuses, states: await page.evaluate(() => window.errors) }
})

console.log(JSON.stringify(result))
