"""Watches a service or a name without a pause until standard input is closed; then prints what it saw, as a JSON list of
[when it asked (seconds of CLOCK_MONOTONIC, the same in all processes of a machine), outcome].

python3 watch.py connect HOST PORT [--keep]             a request every 20 ms, each on a new connection (--keep: all on one);
                                                        outcome: the cluster that answered, or "failed: WHY"
python3 watch.py name SERVER NAME CLUSTER=PREFIX…       a question every 10 ms; outcome: the clusters whose addresses came,
                                                        as "east+west", or "failed: WHY"
"""

import asyncio
import ipaddress
import json
import socket
import struct
import sys
import time

SEEN = []
PATIENCE_S = 1.0


async def request(reader, writer):
    writer.write(b"GET / HTTP/1.1\r\nHost: story\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    return json.loads(await reader.readexactly(length))["cluster"]


async def one_connection(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        return await request(reader, writer)
    finally:
        writer.close()


async def timed(started, doing):
    try:
        outcome = await asyncio.wait_for(doing, PATIENCE_S)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
        outcome = f"failed: {type(error).__name__} {error}".rstrip()
    SEEN.append([started, outcome])


async def watch_connections(host, port, closed):
    running = set()
    while not closed.is_set():
        one = asyncio.create_task(timed(time.monotonic(), one_connection(host, port)))
        running.add(one)
        one.add_done_callback(running.discard)
        await asyncio.sleep(0.02)
    await asyncio.gather(*running)


async def watch_kept(host, port, closed):
    reader, writer = await asyncio.open_connection(host, port)
    while not closed.is_set():
        await timed(time.monotonic(), request(reader, writer))
        if SEEN[-1][1].startswith("failed"):
            break  # one connection: when it is broken, it is broken
        await asyncio.sleep(0.02)
    writer.close()


class Names(asyncio.DatagramProtocol):
    """Questions under way by their number. An answer that never comes is a failure too."""

    def __init__(self, name, prefixes):
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
        self.question = labels + b"\0" + struct.pack(">HH", 1, 1)
        self.prefixes, self.waiting, self.transport = prefixes, {}, None

    def connection_made(self, transport):
        self.transport = transport

    def error_received(self, _):
        pass  # nobody listens: the question stays unanswered

    def send(self, number):
        self.waiting[number] = time.monotonic()
        self.transport.sendto(struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + self.question)

    def datagram_received(self, data, _):
        number, flags, _, count = struct.unpack(">HHHH", data[:8])
        started = self.waiting.pop(number, None)
        if started is None:
            return
        if flags & 0x0F or count == 0:
            SEEN.append([started, f"failed: rcode {flags & 0x0F}, {count} answers"])
            return
        found, at = set(), 12 + len(self.question)
        for _ in range(count):
            at += 2 if data[at] & 0xC0 else len(self.question) - 4
            kind, _, _, length = struct.unpack(">HHIH", data[at:at + 10])
            if kind == 1:
                ip = ipaddress.ip_address(data[at + 10:at + 14])
                found |= {cluster for cluster, prefix in self.prefixes if ip in prefix}
            at += 10 + length
        SEEN.append([started, "+".join(sorted(found)) or "no address"])


async def watch_names(server, name, prefixes, closed):
    _, names = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Names(name, prefixes), remote_addr=(server, 53), family=socket.AF_INET)
    number = 0
    while not closed.is_set():
        names.send(number & 0xFFFF)
        number += 1
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    SEEN.extend([started, "failed: no answer"] for started in names.waiting.values())


async def main():
    closed = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, closed.set)
    what, *words = sys.argv[1:]
    if what == "connect":
        watch = watch_kept if words[2:] == ["--keep"] else watch_connections
        await watch(words[0], int(words[1]), closed)
    else:
        pairs = [word.split("=", 1) for word in words[2:]]
        await watch_names(words[0], words[1], [(cluster, ipaddress.ip_network(prefix)) for cluster, prefix in pairs], closed)
    print(json.dumps(sorted(SEEN)))


asyncio.run(main())
