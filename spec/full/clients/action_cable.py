"""action_cable.py URL COOKIE: subscribes to NewsChannel of spec/apps/rails by ActionCable's protocol, through PyPI's
websockets; says when it has, and hears one broadcast; broadcasts one itself; prints what it got."""

import asyncio
import json
import sys

import websockets

IDENTIFIER = json.dumps({"channel": "NewsChannel"})


async def heard(socket, wanted):
    """The next message that is not one of ActionCable's pings."""
    while True:
        message = json.loads(await socket.recv())
        if message.get("type") != "ping":
            assert wanted in message, message
            return message[wanted]


async def main(url, cookie):
    results = {}
    options = {"subprotocols": ["actioncable-v1-json", "actioncable-unsupported"], "additional_headers": {"Cookie": cookie},
               "origin": url.replace("ws:", "http:").removesuffix("/cable")}
    async with websockets.connect(url, **options) as socket:
        results["protocol"] = socket.subprotocol
        results["welcome"] = await heard(socket, "type")
        await socket.send(json.dumps({"command": "subscribe", "identifier": IDENTIFIER}))
        results["subscribed"] = await heard(socket, "type")
        print("subscribed", flush=True)
        results["broadcast"] = await heard(socket, "message")
        data = json.dumps({"action": "speak", "text": "grüße"})
        await socket.send(json.dumps({"command": "message", "identifier": IDENTIFIER, "data": data}))
        results["own"] = await heard(socket, "message")
        await socket.send(json.dumps({"command": "unsubscribe", "identifier": IDENTIFIER}))
    results["closed"] = socket.close_code
    print(json.dumps(results))


asyncio.run(main(*sys.argv[1:]))
