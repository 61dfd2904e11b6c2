// replay.js URL: opens a page that has connect() and an array `heard` of what its EventSource was told. Obeys lines on
// stdin and repeats each when it is done: "connect", a number (wait until that many were heard), "end" (print all).
import { createInterface } from "node:readline"
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  const errors = []
  page.on("pageerror", (error) => errors.push(error.message))
  await page.goto(url)
  console.log("ready")
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === "end") break
    if (line === "connect") await page.evaluate("connect()")
    else await page.waitForFunction((count) => heard.length >= count, Number(line), { polling: 50 })
    console.log(line)
  }
  process.stdin.destroy()
  return { heard: await page.evaluate("heard"), errors }
})

console.log(JSON.stringify(result))
