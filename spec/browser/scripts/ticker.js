// ticker.js URL: two readers of the ticker, one of which reads slowly until it has skipped, and then at full speed again.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const errors = []
  async function open() {
    const page = await (await browser.newContext()).newPage()
    page.on("pageerror", (error) => errors.push(error.message))
    await page.goto(url)
    await page.waitForSelector("#shares li:nth-child(6) .price:not(:empty)")
    return page
  }
  const number = async (page, id) => parseFloat(await page.textContent(`#${id}`))
  const slow = await open()
  const quick = await open()
  await slow.click("#throttle")
  await slow.waitForFunction(() => Number(document.getElementById("skipped").textContent) > 0, null, { timeout: 280000 })
  await slow.click("#throttle")
  await slow.waitForFunction(() => parseFloat(document.getElementById("lag").textContent) < 0.5)
  return { skipped: await number(slow, "skipped"), status: await slow.textContent("#status"),
           quick: { skipped: await number(quick, "skipped"), shares: await quick.$$eval("#shares .name", (names) => names.length) },
           errors }
})

console.log(JSON.stringify(result))
