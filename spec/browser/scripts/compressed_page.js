// compressed_page.js URL: has a page in Chromium talk to the app of compressed_clients_spec.rb, and prints what it got.
import { withBrowser } from "./chromium.js"

const [url] = process.argv.slice(2)

const results = await withBrowser(async (browser) => {
  const page = await browser.newPage()
  await page.goto(`${url}/page`)
  return page.evaluate(async () => {
    const socket = new WebSocket(location.href.replace("http", "ws").replace("/page", "/"))
    socket.binaryType = "arraybuffer"
    await new Promise((resolve, reject) => Object.assign(socket, { onopen: resolve, onerror: reject }))
    const text = JSON.stringify(Array.from({ length: 5000 }, (_, id) => ({ id, name: `Ana ${id}`, grüße: "😀" })))
    const same = []
    // Twice, so that a message may refer to the one before.
    for (const message of ["", "short", text.slice(0, 700), text, text]) {
      for (const data of [message, new TextEncoder().encode(message)]) {
        const answer = new Promise((resolve) => { socket.onmessage = resolve })
        socket.send(data)
        const got = (await answer).data
        same.push(typeof got === "string" ? got === data : new TextDecoder().decode(got) === message)
      }
    }
    const closed = new Promise((resolve) => { socket.onclose = resolve })
    socket.close(1000)
    return { extensions: socket.extensions, same, code: (await closed).code }
  })
})

console.log(JSON.stringify(results))
