// compressed_page.js URL: opens the page of compressed_clients_spec.rb in Chromium, and prints what it got.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const results = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  await page.goto(`${url}/page`)
  return page.evaluate("talk()")
})

console.log(JSON.stringify(results))
