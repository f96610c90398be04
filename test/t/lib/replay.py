#!/usr/bin/python3
"""A partner that knows nothing but its script.

What it answers is told line by line on its standard input, and what arrived is
told back on its standard output, so a test can hold both against the partner's
document: the sandbox is written by the hands that wrote the extension, this is
not.  It listens on a free port of 127.0.0.1, in plain HTTP, and ends when its
standard input does.

Each line is a JSON command and is answered by a JSON line:

  {"do": "answer", "method", "target", "status", "headers", "body", "times"}
      Answer requests with this method, path and set of query parameters, the
      first 'times' of them; several scripts for one request follow each other.
      A request without a script is answered with 599.
  {"do": "arrived"}
      The requests since the last time, in order: method, target (as it came),
      path, query (decoded), headers (names in lower case), body (bytes that are
      no UTF-8 as \\xff), scripted.
  {"do": "left"}
      The scripts that were not used up, as "METHOD target".
  {"do": "clear"}
      Forget scripts and requests.
"""
import http.server
import json
import sys
import threading
import urllib.parse


def key_of(method, target):
    """What identifies a request: parameters in any order, each as often as given."""
    split = urllib.parse.urlsplit(target)
    query = urllib.parse.parse_qsl(split.query, keep_blank_values=True, strict_parsing=bool(split.query))
    return method, split.path, tuple(sorted(query))


class Script:
    """The answers that are due, and the requests that came; shared by the connections."""

    def __init__(self):
        self.lock = threading.Lock()
        self.answers = {}
        self.requests = []

    def add(self, answer):
        with self.lock:
            self.answers.setdefault(key_of(answer["method"], answer["target"]), []).append(answer)

    def take(self, request):
        """Notes the request; its answer, or None."""
        with self.lock:
            due = self.answers.get(key_of(request["method"], request["target"]), [])
            answer = due[0] if due else None
            if answer is not None and answer["times"] is not None:
                answer["times"] -= 1
                if answer["times"] == 0:
                    due.pop(0)
            request["scripted"] = answer is not None
            self.requests.append(request)
            return answer

    def arrived(self):
        with self.lock:
            requests, self.requests = self.requests, []
            return requests

    def left(self):
        with self.lock:
            return ["%s %s" % (answer["method"], answer["target"])
                    for due in self.answers.values() for answer in due if answer["times"] is not None]

    def clear(self):
        with self.lock:
            self.answers, self.requests = {}, []


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one(self):
        length = int(self.headers.get("Content-Length") or 0)
        split = urllib.parse.urlsplit(self.path)
        answer = self.server.script.take({
            "method": self.command,
            "target": self.path,
            "path": split.path,
            "query": dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True)),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "body": self.rfile.read(length).decode("utf-8", "backslashreplace"),
        })
        if answer is None:
            answer = {"status": 599, "headers": {}, "body": json.dumps({
                "message": "the script has no answer to %s %s" % (self.command, self.path)})}
        body = answer["body"].encode("utf-8")
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        headers.update(answer["headers"])
        self.send_response(answer["status"])
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = handle_one

    def log_message(self, *args):
        """The test asks for what arrived; nothing is to be printed between the lines."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script = script


def run(script, command):
    if command["do"] == "answer":
        script.add({"method": command["method"], "target": command["target"],
                    "status": command.get("status", 200), "headers": command.get("headers") or {},
                    "body": command.get("body", ""), "times": command.get("times", 1)})
        return None
    return {"arrived": script.arrived, "left": script.left, "clear": script.clear}[command["do"]]()


def main():
    script = Script()
    server = Server(script)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_address[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"result": run(script, json.loads(line))}), flush=True)


main()
