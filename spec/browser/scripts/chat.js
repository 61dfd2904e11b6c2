// chat.js URL: three people in three browser contexts meet in the chat example; prints what the page of each showed.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const result = await withBrowser(async (browser) => {
  const errors = []

  async function open(context) {
    const page = await context.newPage()
    page.on("pageerror", (error) => errors.push(error.message))
    await page.goto(url)
    await page.waitForSelector("#status.on")
    return page
  }

  async function join(name, ...others) {
    const page = await open(await browser.newContext())
    await page.fill("#name", name)
    await page.click("#join button")
    await sees(page, name, ...others)
    return page
  }

  async function say(page, text) {
    await page.fill("#text", text)
    await page.click("#send")
  }

  function hears(page, text) {
    return page.waitForFunction((text) => document.querySelector("#log li:last-child")?.textContent.includes(text), text)
  }

  function sees(page, ...names) {
    return page.waitForFunction((names) => {
      const people = [...document.querySelectorAll("#people li")].map((item) => item.textContent)
      return people.sort().join() === names
    }, names.sort().join())
  }

  // Without the times of day.
  function log(page) {
    return page.$$eval("#log li", (items) => items.map((item) => {
      const words = item.cloneNode(true)
      words.querySelector("time")?.remove()
      return `${item.className}: ${words.textContent}`
    }))
  }

  const ann = await join("Ann")
  const bob = await join("Bob", "Ann")
  await hears(ann, "Bob joined")
  await sees(ann, "Ann", "Bob")
  await say(ann, "hello <b>Bob</b>")
  await hears(bob, "hello <b>Bob</b>")
  await say(bob, "grüße 😀")
  await hears(ann, "grüße 😀")

  // Another tab of the same user is not a new member, and shows the earlier messages.
  const tab = await open(ann.context())
  await sees(tab, "Ann", "Bob")
  await sees(bob, "Ann", "Bob")
  const history = await log(tab)

  // Away for a moment, and the words are there all the same, once.
  await ann.context().setOffline(true)
  await say(bob, "are you there?")
  await hears(bob, "are you there?")
  await ann.context().setOffline(false)
  await hears(ann, "are you there?")
  const pages = { ann: await log(ann) }
  await ann.close()
  await tab.close()
  await hears(bob, "Ann left")
  await sees(bob, "Bob")
  return { ...pages, bob: await log(bob), history, errors }
})

console.log(JSON.stringify(result))
