// console.js URL [network [FILE]]: opens a page. Evaluates each line of stdin in it and prints the value as JSON; an error as {"error": …}.
// With `network`, the line `network` prints what the page has asked for: [{ url, protocol, connection, status }]. A WebSocket's
// protocol is not known. Chromium logs what it does on the network to FILE.
import { createInterface } from "node:readline"
import { withBrowser } from "./chromium.js"

const [url, watched, log] = process.argv.slice(2)

await withBrowser(async (browser) => {
  const page = await browser.newPage()
  const network = [], addresses = new Map()
  const protocol = await page.context().newCDPSession(page)
  protocol.on("Network.responseReceived", ({ response }) => {
    network.push({ url: response.url, protocol: response.protocol, connection: response.connectionId, status: response.status })
  })
  protocol.on("Network.webSocketCreated", ({ requestId, url }) => addresses.set(requestId, url))
  protocol.on("Network.webSocketHandshakeResponseReceived", ({ requestId, response }) => {
    network.push({ url: addresses.get(requestId), status: response.status })
  })
  if (watched) await protocol.send("Network.enable")
  await page.goto(url)
  console.log("ready")
  for await (const line of createInterface({ input: process.stdin })) {
    const evaluated = line === "network" ? Promise.resolve(network) : page.evaluate(line)
    console.log(JSON.stringify(await evaluated.catch((error) => ({ error: error.message })) ?? null))
  }
}, ...(log ? [`--log-net-log=${log}`, "--net-log-capture-mode=IncludeSensitive"] : []))
