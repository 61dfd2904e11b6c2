// job_progress.js URL: starts two jobs, loads the page again in their midst, and prints how they end.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  const errors = []
  page.on("pageerror", (error) => errors.push(error.message))
  const past = (percent) => page.waitForFunction((percent) => {
    const bars = [...document.querySelectorAll("progress")]
    return bars.length > 0 && bars.every((bar) => bar.value > percent)
  }, percent)

  await page.goto(url)
  await page.click("#start")
  await page.click("#start")
  await page.waitForSelector("#jobs li:nth-child(2)")
  await past(5)
  const before = await page.$$eval("progress", (bars) => bars.map((bar) => bar.value))
  await page.reload()
  await past(Math.max(...before))
  await page.waitForFunction(() => document.querySelectorAll("#jobs .done").length === 2)
  const ended = await page.$$eval("#jobs li", (items) => items.map((item) => item.textContent.replace(/\s+/g, " ").trim()))
  const bars = await page.$$eval("progress", (bars) => bars.map((bar) => bar.value))
  return { before, ended, bars, errors }
})

console.log(JSON.stringify(result))
