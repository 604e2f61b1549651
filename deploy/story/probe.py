"""Connects wherever it is told, from where it runs. Reads lines of standard input, each a JSON list of tasks, and answers
each with a line: a JSON object from task id to {"ok", "who", "ms"}. All tasks of a line run at once. Ends with its input.

A task: {"id", "host", "port", "family": 4 or 6, "timeout"}, and, when wanted: "source" (an address to connect from),
"keep" (a name under which the connection is kept open), or "on" (the name of a kept connection) instead of a host.
"""

import json
import socket
import sys
import threading
import time

KEPT = {}  # name -> socket
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def connect(task):
    family = FAMILIES[task["family"]]
    address = socket.getaddrinfo(task["host"], task["port"], family, socket.SOCK_STREAM)[0][4]
    link = socket.socket(family, socket.SOCK_STREAM)
    try:
        link.settimeout(task["timeout"])
        if "source" in task:
            link.bind((task["source"], 0))
        link.connect(address)
    except OSError:
        link.close()
        raise
    return link


def ask(link):
    """One request on an open connection; the answer's cluster and pod."""
    link.sendall(b"GET / HTTP/1.1\r\nHost: story\r\n\r\n")
    head, body = b"", b""
    while b"\r\n\r\n" not in head or not body.endswith(b"}"):
        data = link.recv(4096)
        if not data:
            raise OSError("closed by the other side")
        head += data
        body = head.partition(b"\r\n\r\n")[2]
    answer = json.loads(body)
    return f"{answer['cluster']}/{answer['pod']}"


def carry_out(task, answers):
    started = time.monotonic()
    try:
        link = KEPT[task["on"]] if "on" in task else connect(task)
        link.settimeout(task["timeout"])
        who, good = ask(link), True
        if "keep" in task:
            KEPT[task["keep"]] = link
        elif "on" not in task:
            link.close()
    except (OSError, KeyError, ValueError) as error:
        who, good = f"{type(error).__name__}: {error}", False
    answers[task["id"]] = {"ok": good, "who": who, "ms": round((time.monotonic() - started) * 1000, 1)}


for line in sys.stdin:
    results = {}
    threads = [threading.Thread(target=carry_out, args=(task, results)) for task in json.loads(line)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(results), flush=True)
