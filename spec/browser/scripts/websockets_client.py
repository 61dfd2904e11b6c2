"""websockets_client.py URL: talks to the app of foreign_clients_spec.rb through PyPI's websockets, prints what it got."""

import asyncio
import json
import sys

import websockets

URL = sys.argv[1]


async def echoed(socket, data):
    await socket.send(data)
    answer = await socket.recv()
    return {"same": answer == data, "binary": isinstance(answer, bytes)}


async def main():
    results = {}
    async with websockets.connect(f"{URL}/?py", max_size=None) as socket:
        results["text"] = await echoed(socket, "grüße 😀")
        results["binary"] = await echoed(socket, bytes([0, 255, 128]))
        results["largeText"] = await echoed(socket, "x" * 2**20)
        results["largeBinary"] = await echoed(socket, bytes([7]) * 2**20)

        await socket.send(["in ", "three ", "parts"])
        results["fragmented"] = await socket.recv()

        # Awaits the pong that carries this very payload.
        await (await socket.ping("are you there?"))
        results["pong"] = "are you there?"

        await socket.close(4001, "bye")
        results["closedByClient"] = [socket.close_code, socket.close_reason]

    async with websockets.connect(f"{URL}/?py-closed-by-server") as socket:
        await socket.send("close me")
        await socket.wait_closed()
        results["closedByServer"] = [socket.close_code, socket.close_reason]

    print(json.dumps(results))


asyncio.run(main())
