"""The journal of every request that arrived, for tests to count and to read."""

import hashlib
import re
import threading
import time

from store import APIS

FILTERS = ("api", "path", "method", "status", "fault", "key", "body")
SHOWN_BODY = 1024 * 1024


def redact(name, value):
    """A header's value as the journal keeps it."""
    if name == "authorization":
        scheme, _, secret = value.partition(" ")
        return "%s ...%s" % (scheme, secret[-4:])
    return value


class Journal:
    """All requests in the order of their arrival.

    One condition guards the list; whoever waits for requests sleeps on it."""

    def __init__(self, log_path=None):
        self.arrived = threading.Condition()
        self.entries = []
        self.number = 0
        self.log = open(log_path, "a", buffering=1, encoding="utf-8") if log_path else None

    def add(self, request):
        """Note the arrival of a request; its status comes with finish()."""
        connection = request.connection
        body = request.body
        entry = {
            "n": 0, "api": request.api, "method": request.method, "path": request.path,
            "query": request.query,
            "headers": {name: redact(name, value) for name, value in request.headers.items()},
            "body": None if body is None else body[:SHOWN_BODY].decode("utf-8", "replace"),
            "body_sha256": None if body is None else hashlib.sha256(body).hexdigest(),
            "body_bytes": None if body is None else len(body),
            "at": time.monotonic(), "connection": connection.number,
            "request_on_connection": request.number, "key": None, "status": None, "fault": None,
            "tls": connection.tls, "http_version": request.http_version, "bytes": 0, "ms": None,
        }
        with self.arrived:
            self.number += 1
            entry["n"] = self.number
            self.entries.append(entry)
            self.arrived.notify_all()
        request.entry = entry

    def finish(self, request, status):
        """Note what was answered; None if nothing was."""
        entry = request.entry
        with self.arrived:
            entry["status"] = status
            entry["bytes"] = request.sent_bytes
            entry["ms"] = round((time.monotonic() - entry["at"]) * 1000, 3)
            self.arrived.notify_all()
        if self.log is not None:
            self.log.write("%d %s %s %s -> %s %.1f ms%s\n" % (
                entry["n"], entry["api"], entry["method"], request.target, status, entry["ms"],
                " (fault: %s)" % entry["fault"] if entry["fault"] else ""))

    def select(self, query):
        """The entries that the query's filters take.

        path and body are regular expressions, path matched as a whole; the
        others are compared as text, status none meaning unanswered."""
        unknown = [name for name in query if name not in FILTERS]
        if unknown:
            raise ValueError("unknown filter %s; known: %s" % (unknown[0], ", ".join(FILTERS)))
        if query.get("api", APIS[0]) not in APIS:
            raise ValueError("unknown api %s; known: %s" % (query["api"], ", ".join(APIS)))
        path = re.compile(query["path"]) if "path" in query else None
        body = re.compile(query["body"]) if "body" in query else None
        plain = [(name, query[name]) for name in ("api", "method", "status", "fault", "key")
                 if name in query]
        found = []
        for entry in self.entries:
            if path is not None and not path.fullmatch(entry["path"]):
                continue
            if body is not None and not body.search(entry["body"] or ""):
                continue
            if all(str(entry[name]).lower() == value.lower() for name, value in plain):
                found.append(entry)
        return found

    def wait(self, count, query, timeout, answered=False):
        """Block until count matching requests arrived (or were answered); how many did."""
        deadline = time.monotonic() + timeout
        with self.arrived:
            while True:
                left = deadline - time.monotonic()
                # Looking is dear while thousands arrive; too few in all are too few.
                if len(self.entries) >= count or left <= 0:
                    found = self.select(query)
                    if answered:
                        found = [entry for entry in found if entry["ms"] is not None]
                    if len(found) >= count or left <= 0:
                        return len(found)
                self.arrived.wait(left)

    def clear(self):
        """Forget all entries; the numbers go on."""
        with self.arrived:
            self.entries = []
