import assert from "node:assert/strict"
import { test } from "node:test"
import { parser } from "./subject.js"

function blocks(...pieces) {
  const found = []
  const feed = parser((block) => found.push(block))
  pieces.forEach(feed)
  return found.filter((block) => Object.keys(block).length)
}

const stream = "retry: 1500\n:\nid: e-1\nevent: said\ndata: grüße 😀\n\ndata:a\ndata: b\ndata:  c\ndata\n\nid: e-2.token\n\n"
const parsed = [
  { retry: 1500 }, { id: "e-1", event: "said", data: "grüße 😀" }, { data: "a\nb\n c\n" }, { id: "e-2.token" }
]

test("fields, comments and several lines of data", () => assert.deepEqual(blocks(stream), parsed))

for (const [name, end] of [["LF", "\n"], ["CRLF", "\r\n"], ["CR", "\r"]]) {
  const text = stream.replaceAll("\n", end)
  test(`${name}, character by character`, () => assert.deepEqual(blocks(...text), parsed))
  test(`${name}, cut in two anywhere`, () => {
    for (let at = 0; at <= text.length; at += 1) assert.deepEqual(blocks(text.slice(0, at), "", text.slice(at)), parsed)
  })
  test(`${name}, byte by byte through a decoder`, () => {
    const decoder = new TextDecoder()
    const pieces = [...new TextEncoder().encode(text)].map((byte) => decoder.decode(Uint8Array.of(byte), { stream: true }))
    assert.deepEqual(blocks(...pieces), parsed)
  })
}

test("retry: counts at the end of its line", () => {
  assert.deepEqual(blocks("retry: 15"), [])
  assert.deepEqual(blocks("retry: 15\n"), [{ retry: 15 }])
  assert.deepEqual(blocks("id: 1\nretry: 15\ndata: x\n\n"), [{ retry: 15 }, { id: "1", data: "x" }])
})
test("a block that has not ended is none", () => assert.deepEqual(blocks("id: e-9\ndata: half\n"), []))
test("empty data is data", () => assert.deepEqual(blocks("data\n\n", "data:\n\n"), [{ data: "" }, { data: "" }]))
test("an empty id is one", () => assert.deepEqual(blocks("id\n\n"), [{ id: "" }]))
test("what is not understood is ignored", () => {
  assert.deepEqual(blocks("retry: soon\nid: a\0b\nfoo: bar\ndatax: no\n data: no\ndata: yes\n\n"), [{ data: "yes" }])
})
test("fields do not outlive their block", () => {
  assert.deepEqual(blocks("event: a\nid: 1\n\ndata: x\n\n"), [{ event: "a", id: "1" }, { data: "x" }])
})
