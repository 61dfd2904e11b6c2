// notifications.js URL: goes through all transports, and offline; prints how the page said it was connected, and its inbox.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  const errors = []
  page.on("pageerror", (error) => errors.push(error.message))
  const status = () => page.textContent("#status")
  const choose = (transport) => page.check(`[name=transport][value="${transport}"]`, { force: true })
  const inbox = () => page.$$eval("#inbox li", (items) => items.map((item) => item.querySelector(".n").textContent + " " +
                                                                              item.querySelector(".via").textContent).reverse())
  async function press(button, count) {
    await Promise.all([page.waitForResponse((response) => response.request().method() === "POST"), page.click(button)])
    await page.waitForSelector(`#inbox li:nth-child(${count})`)
  }

  await page.goto(url)
  await page.waitForSelector("#status.on")
  const statuses = [await status()]
  await press("#notify", 1)
  let count = 1
  for (const transport of ["sse", "poll", "websocket"]) {
    await choose(transport)
    await page.waitForSelector("#status.on")
    statuses.push(await status())
    await press("#notify", count += 1)
  }
  await choose("none")
  statuses.push(await status())
  await Promise.all([page.waitForResponse((response) => response.request().method() === "POST"), page.click("#burst")])
  await choose("poll")
  await page.waitForSelector(`#inbox li:nth-child(${count + 10})`)
  const texts = await page.$$eval("#inbox .text", (all) => all.map((text) => text.textContent).reverse())
  return { statuses, inbox: await inbox(), texts, errors }
})

console.log(JSON.stringify(result))
