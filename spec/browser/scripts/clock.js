// clock.js URL: opens both pages of a clock, each in a context of its own, and prints what they showed: three texts of
// #message, the status, and the cookies of the context.
import { textsOf, withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const seen = await withBrowser((browser) => Promise.all(["websocket.html", "sse.html"].map(async (name) => {
  const context = await browser.newContext()
  const page = await context.newPage()
  const errors = []
  page.on("pageerror", (error) => errors.push(error.message))
  await page.goto(`${url}/${name}`)
  const messages = await textsOf(page, "#message", 3, ["…", "... waiting ..."])
  const status = await page.textContent("#status")
  const cookies = (await context.cookies(url)).map(({ name, value }) => `${name}=${value}`)
  return [name, { messages, status, cookies, errors }]
})))

console.log(JSON.stringify(Object.fromEntries(seen)))
