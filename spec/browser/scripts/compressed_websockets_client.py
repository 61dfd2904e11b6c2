"""compressed_websockets_client.py URL some|all: talks to the app of compressed_clients_spec.rb through PyPI's websockets, with
some or all combinations of window bits and context takeover that it can offer, and prints what it got for each."""

import asyncio
import itertools
import json
import sys

import websockets
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

URL, EXTENT = sys.argv[1:]
ROWS = [{"id": number, "name": f"Ana {number}", "price": number * 7919 % 1000, "grüße": "😀"} for number in range(2000)]
TEXT = json.dumps(ROWS, ensure_ascii=False)
MESSAGES = ["", "short", TEXT[:700], TEXT[:20_000], TEXT]


async def talk(**offer):
    factory = ClientPerMessageDeflateFactory(**offer)
    async with websockets.connect(URL, extensions=[factory], compression=None, max_size=None) as socket:
        extensions = socket.response.headers.get("Sec-WebSocket-Extensions")
        same = 0
        # Twice, so that a message may refer to the ones before.
        for message in MESSAGES + MESSAGES:
            for data in (message, message.encode()):
                await socket.send(data)
                same += await socket.recv() == data
        await socket.send([TEXT[at : at + 1000] for at in range(0, 20_000, 1000)])
        same += await socket.recv() == TEXT[:20_000]
    return {"extensions": extensions, "same": same, "code": socket.close_code}


async def main():
    results = []
    bits = [None, 8, 9, 10, 11, 12, 13, 14, 15] if EXTENT == "all" else [None, 8, 9]
    # zlib, and so this library, has no window of 8 bits for what it sends.
    own_bits = [True, *(bit for bit in bits if bit != 8)]
    for server_bits, client_bits, server_no, client_no in itertools.product(bits, own_bits, (False, True), (False, True)):
        offer = {
            "server_no_context_takeover": server_no,
            "client_no_context_takeover": client_no,
            "server_max_window_bits": server_bits,
            "client_max_window_bits": client_bits,
        }
        results.append({"offer": offer, **await talk(**offer)})
    print(json.dumps(results))


asyncio.run(main())
