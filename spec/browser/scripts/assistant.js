// assistant.js URL: asks the assistant something, loads the page again in the midst of the answer, opens a second tab, and asks
// something there. Prints what each page shows, and when.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const context = await browser.newContext()
  const errors = [], posts = []
  async function open(address) {
    const page = await context.newPage()
    page.on("pageerror", (error) => errors.push(error.message))
    page.on("response", (response) => {
      if (response.request().method() === "POST") posts.push([response.status(), response.headers()["content-type"]])
    })
    await page.goto(address)
    await page.waitForSelector("#status.on")
    return page
  }
  const answers = (page) => page.$$eval(".answer p", (all) => all.map((it) => it.textContent.trim()))
  const words = (page, number, count) => page.waitForFunction(([number, count]) => {
    return document.querySelectorAll(`.answer:nth-of-type(${number}) span`).length >= count
  }, [number, count])
  const done = (page, number) => page.waitForFunction((number) => {
    return document.querySelectorAll(".answer:not(.writing)").length === number
  }, number)

  const first = await open(url)
  await first.fill("#question", "Who is the keeper?")
  await first.press("#question", "Enter")
  await words(first, 1, 8)
  const before = await answers(first)
  await first.reload()
  const [reloaded] = await first.evaluate(() => JSON.parse(document.querySelector("#state").textContent).told)
  await words(first, 1, 9)
  const second = await open(first.url())
  await words(second, 1, 9)
  const midst = await answers(second)
  await Promise.all([done(first, 1), done(second, 1)])
  const once = [await answers(first), await answers(second)]

  // The other way round, on the streams that are open.
  await second.fill("#question", "And the cats?")
  await second.press("#question", "Enter")
  await words(first, 2, 1)
  await Promise.all([done(first, 2), done(second, 2)])
  const twice = [await answers(first), await answers(second)]
  const asked = await first.$$eval(".asked", (all) => all.map((it) => it.textContent))
  return { before, reloaded, midst, once, twice, asked, posts, errors }
})

console.log(JSON.stringify(result))
