// chat.js URL: two people in two browser contexts meet in the chat example; prints what the page of each showed.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const errors = []

  async function join(name) {
    const page = await (await browser.newContext()).newPage()
    page.on("pageerror", (error) => errors.push(error.message))
    await page.goto(url)
    await page.fill("#name", name)
    await page.click("#join button")
    await hears(page, `${name} joined`)
    return page
  }

  async function say(page, text) {
    await page.fill("#text", text)
    await page.click("#send:enabled")
  }

  function hears(page, text) {
    return page.waitForFunction((text) => document.querySelector("#log li:last-child")?.textContent.endsWith(text), text)
  }

  function log(page) {
    return page.$$eval("#log li", (items) => items.map((item) => `${item.className}: ${item.textContent}`))
  }

  const ann = await join("Ann")
  const bob = await join("Bob")
  await hears(ann, "Bob joined")
  await say(ann, "hello <b>Bob</b>")
  await hears(bob, "hello <b>Bob</b>")
  await say(bob, "grüße 😀")
  await hears(ann, "grüße 😀")
  const together = { ann: await log(ann), people: [await bob.textContent("#people")] }
  await ann.close()
  await hears(bob, "Ann left")
  return { ann: together.ann, bob: await log(bob), people: [...together.people, await bob.textContent("#people")], errors }
})

console.log(JSON.stringify(result))
