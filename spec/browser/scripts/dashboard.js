// dashboard.js URL: opens the dashboard, at once and 2 s late; prints its account of the points it got.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const errors = []
  async function account(address) {
    const page = await browser.newPage()
    page.on("pageerror", (error) => errors.push(error.message))
    await page.goto(address)
    await page.waitForSelector("#status.on")
    // Four changes: four points that came live.
    const figures = []
    for (let change = 0; change < 4; change += 1) {
      const text = await page.waitForFunction((last) => {
        const text = ["orders", "load", "wait"].map((id) => document.getElementById(id).textContent).join()
        return text === last ? null : text
      }, figures.at(-1) ?? "", { polling: 50 })
      figures.push(await text.jsonValue())
    }
    const drawn = await page.$eval("#chart", (canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height)
      return data.some((value) => value > 0)
    })
    const count = async (id) => Number(await page.textContent(`#${id}`))
    return { replayed: await count("replayed"), missing: await count("missing"), twice: await count("twice"), drawn }
  }
  return { prompt: await account(url), late: await account(`${url}/?slow`), errors }
})

console.log(JSON.stringify(result))
