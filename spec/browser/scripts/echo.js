// echo.js URL: types into the page of the echo example and prints its log.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const log = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  await page.goto(url)
  for (const text of ["hello", "grüße 😀"]) {
    await page.fill("#text", text)
    await page.click("#send:enabled")
    await page.waitForFunction((text) => document.querySelector("#log .received")?.textContent === text, text)
  }
  return page.$$eval("#log li", (items) => items.map((item) => `${item.className}: ${item.textContent}`).reverse())
})

console.log(JSON.stringify({ log }))
