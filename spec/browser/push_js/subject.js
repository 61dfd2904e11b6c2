// push.js as the module that it is: beside it in lib is nothing that would tell Node so, and Node 18 does not look inside.
import { readFileSync } from "node:fs"

const source = readFileSync(new URL("../../../lib/push_server/push.js", import.meta.url))

export const { parser, push } = await import(`data:text/javascript;base64,${source.toString("base64")}`)
