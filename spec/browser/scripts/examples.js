// examples.js URL: follows every link of the index page; prints the title of each page, and what of each came to life.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)
// What shows that a page is connected.
const alive = { assistant: "#status.on", chat: "#status.on", clock: "#status.on", dashboard: "#chart[data-live]", echo: "#send:enabled", job_progress: "#start",
                notifications: "#status.on", ticker: "#shares .price:not(:empty)" }

const result = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  const errors = []
  page.on("pageerror", (error) => errors.push(error.message))
  await page.goto(url)
  const links = await page.$$eval("a", (links) => links.map((link) => link.getAttribute("href")))
  const titles = {}
  for (const link of links) {
    const name = link.replace("/", "")
    await page.goto(`${url}/${link}`)
    await page.waitForSelector(alive[name])
    titles[name] = await page.title()
  }
  const protocol = await page.evaluate(() => performance.getEntriesByType("navigation")[0].nextHopProtocol)
  return { titles, protocol, errors }
})

console.log(JSON.stringify(result))
