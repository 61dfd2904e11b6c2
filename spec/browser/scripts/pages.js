// pages.js: a Chromium for many pages. Obeys lines on stdin and repeats each when it is done: "open URL"; "ended", which
// waits until the page knows of the end of a connection; "later", which lets ten minutes pass in it at once; "attempts",
// which is answered by the page's number of connections so far; "close", the page, answered by what went wrong in it.
import { createInterface } from "node:readline"
import { withBrowser } from "./chromium.js"

await withBrowser(async (browser) => {
  let page, errors
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, url] = line.split(" ")
    if (order === "open") {
      errors = []
      page = await (await browser.newContext()).newPage()
      page.on("pageerror", (error) => errors.push(error.message))
      await page.clock.install()
      await page.goto(url)
    }
    if (order === "ended") await page.waitForFunction("ends > 0", null, { polling: 50 })
    if (order === "later") await page.clock.runFor(600_000)
    if (order === "close") await page.context().close()
    const answers = { attempts: () => page.evaluate("attempts"), close: () => JSON.stringify(errors) }
    console.log(await answers[order]?.() ?? line)
  }
})
