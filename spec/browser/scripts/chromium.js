import { chromium } from "playwright-core"

// Chromium as the machine has it, quiet and with a fresh profile; closed when `visit` is done. It knows no authority of the specs.
const flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
               "--disable-component-update", "--disable-sync", "--ignore-certificate-errors"]

export async function withBrowser(visit, ...more) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: [...flags, ...more] })
  try {
    return await visit(browser)
  } finally {
    await browser.close()
  }
}

// Waits until the text of an element has been `count` different things since it last was one of `before`.
export async function textsOf(page, selector, count, before) {
  const texts = []
  while (texts.length < count) {
    const handle = await page.waitForFunction(([selector, seen]) => {
      const text = document.querySelector(selector).textContent.trim()
      return seen.includes(text) ? null : text
    }, [selector, [...before, ...texts.slice(-1)]], { polling: 50 })
    texts.push(await handle.jsonValue())
  }
  return texts
}
