"""Stands in for the API in tests of the supervisor: answers every GET with 200, or with 503 after --never-ready."""

import argparse
import http.server
import os
import signal
import socket
import sys

from service.lifeline import watch

parser = argparse.ArgumentParser()
parser.add_argument("--listen-fd", type=int, required=True)
parser.add_argument("--lifeline-fd", type=int, required=True)
parser.add_argument("--never-ready", action="store_true")
options = parser.parse_args()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if options.never_ready else 200)
        self.end_headers()
        self.wfile.write(os.environ["PLUMBLINE_DATABASE_URL"].encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
watch(options.lifeline_fd, lambda: os._exit(3))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = socket.socket(fileno=options.listen_fd)
os.write(2, f"api {os.getpid()}\n".encode())  # whole, however many write at once
server.serve_forever()
