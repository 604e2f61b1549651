"""A small web server, the workload of the story: answers every GET with its cluster and pod as JSON.

python3 web.py CLUSTER POD PORT      connections are kept for as many requests as the client likes
"""

import http.server
import json
import socket
import sys


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 128


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"cluster": sys.argv[1], "pod": sys.argv[2]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


Server(("::", int(sys.argv[3])), Handler).serve_forever()
