"""A door from this machine into a node's network: forwards a loopback port to the store of a cluster.

python3 door.py FD ADDRESS PORT      FD is a listening socket of the host's network namespace; the process itself runs in
the node's, so what it connects to is there. At most 64 connections at a time.
"""

import socket
import sys
import threading

SLOTS = threading.BoundedSemaphore(64)


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()


def serve(client, address):
    try:
        with client, socket.create_connection(address, timeout=5) as server:
            server.settimeout(None)
            back = threading.Thread(target=pump, args=(server, client), daemon=True)
            back.start()
            pump(client, server)
            back.join()
    except OSError:
        pass
    finally:
        SLOTS.release()


listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    SLOTS.acquire()
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted, (sys.argv[2], int(sys.argv[3]))), daemon=True).start()
