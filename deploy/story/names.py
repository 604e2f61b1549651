"""Asks a DNS server for one name every 10 ms, without waiting for earlier answers, until standard input is closed; then
prints how long the longest time without a good answer was.

python3 names.py SERVER NAME      prints {"asked", "answered", "longest_gap_ms"}
"""

import json
import select
import socket
import struct
import sys
import time


def question(name, number):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)


def is_good(answer):
    """No error, and at least one record."""
    return len(answer) > 12 and answer[3] & 0x0F == 0 and struct.unpack(">H", answer[6:8])[0] > 0


def main():
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect((sys.argv[1], 53))
    link.setblocking(False)
    asked = answered = 0
    gap_ms, last = 0.0, time.monotonic()
    while True:
        try:
            link.send(question(sys.argv[2], asked & 0xFFFF))
        except ConnectionRefusedError:
            pass  # nobody listens: the next question may be answered
        asked += 1
        readable, _, _ = select.select([link, sys.stdin], [], [], 0.01)
        if sys.stdin in readable:
            break
        try:
            while True:
                if is_good(link.recv(4096)):
                    now = time.monotonic()
                    gap_ms, last, answered = max(gap_ms, (now - last) * 1000), now, answered + 1
        except (BlockingIOError, ConnectionRefusedError):
            pass
        if readable:
            time.sleep(0.01)
    print(json.dumps({"asked": asked, "answered": answered, "longest_gap_ms": round(gap_ms, 1)}))


main()
