// page.js URL: shows a page until it is stopped. The page does by itself what is to be seen.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

await withBrowser(async (browser) => {
  await (await browser.newPage()).goto(url)
  await new Promise(() => {})
})
