#!/usr/bin/python3
"""A gateway between webhooks and the database, as small as one can be.

What is posted to it goes on to cs_receive_webhook() by psql: the body's bytes
and the header, by a role that may do nothing else.  200 if the database took
it, 403 if it refused.  Arguments: the connection string and the server's name.
It listens on a free port of 127.0.0.1, prints that as JSON, and ends when its
standard input does.
"""
import http.server
import json
import subprocess
import sys
import threading


class Gateway(http.server.BaseHTTPRequestHandler):
    """Passes on what comes."""

    def do_POST(self):
        """One webhook."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        signature = self.headers.get("X-CupSource-Signature", "")
        call = "SET ROLE webhook; SELECT cs_receive_webhook('\\x%s'::bytea, '%s', '%s')" % (
            body.hex(), signature.replace("'", "''"), sys.argv[2])
        taken = subprocess.run(
            ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", sys.argv[1], "-f", "-"],
            input=call.encode(), capture_output=True, check=False).returncode == 0
        self.send_response(200 if taken else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


def main():
    """Serve until the end of standard input."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    sys.stdin.read()


main()
