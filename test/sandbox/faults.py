"""The fault plan: what goes wrong, when, and how it looks on the wire.

A rule names requests by api, method and path (a regular expression that is
searched for) and an action.  Of the requests that it names it acts on

    "nth": [1, 3]          the first and the third
    "every": 2             every second one
    "times": 2             the first two
    "after": 5             none of the first five; the rest counts from there
    "probability": 0.1     one in ten, by a generator of its own with "seed"
    nothing of these       all of them

The first rule that acts on a request decides.  "process": true processes the
request before the fault takes over the answer; each action has its default.
"""

import base64
import gzip
import random
import re
import threading
from decimal import Decimal

from wire import Answer

CHUNK = 65536
FIELDS = ("name", "api", "method", "path", "nth", "every", "times", "after", "probability",
          "seed", "action", "process")


# These do something to the real answer, so there has to be one.
ON_THE_ANSWER = ("delay", "drip", "truncate", "close_idle")


class BadRule(ValueError):
    """A rule that makes no sense; the message says why."""


class Action:
    """One way to fail: act(rule, request, answer) -> Answer.

    answer is the real one if the request was processed, else None."""

    def __init__(self, act, process, arguments, summary):
        self.act = act
        self.process = process
        self.arguments = arguments
        self.summary = summary


def delivered(delivery, answer=None):
    """An answer that the connection hands to this delivery; without one nothing is answered."""
    answer = answer or Answer(0)
    answer.delivery = delivery
    return answer


# Deliveries: function(connection, request, answer) -> whether to keep the connection

def close_unanswered(connection, _request, _answer):
    """Close; the client sees an orderly end of the stream without one byte."""
    connection.close()
    return False


def reset_connection(connection, _request, _answer):
    """Close with RST."""
    connection.reset()
    return False


def hang(connection, _request, _answer):
    """Say nothing more."""
    connection.hang()
    return False


def close_after(connection, request, answer):
    """Answer, and close without having announced it."""
    connection.send(request, answer)
    request.sent_bytes = len(answer.body)
    return False


# Actions

def act_drop(_rule, _request, _answer):
    return delivered(close_unanswered)


def act_reset(_rule, _request, _answer):
    return delivered(reset_connection)


def act_hang(_rule, _request, _answer):
    return delivered(hang)


def act_status(rule, request, _answer):
    status = rule.get("status", 500)
    if "body" in rule.arguments:
        body = rule.get("body")
        body = body.encode() if isinstance(body, str) else body
        answer = Answer(status, body)
    else:
        answer = rule.plan.refuse(request, status)
    answer.headers.update(rule.get("headers", {}))
    if rule.get("content_type"):
        answer.content_type = rule.get("content_type")
    return answer


def act_rate_limited(rule, request, _answer):
    answer = rule.plan.refuse(request, 429)
    wait = rule.get("retry_after", 1)
    answer.headers.pop("Retry-After", None)
    if wait == "date" or rule.get("form") == "date":
        answer.headers["Retry-After"] = rule.plan.store.retry_after(
            1 if wait == "date" else wait, "date")
    elif wait is not None:
        answer.headers["Retry-After"] = str(wait)
    return answer


def act_delay(rule, request, answer):
    request.delay += rule.get("ms", 1000) / 1000
    return answer


def act_drip(rule, _request, answer):
    size = rule.get("chunk", 1)
    pause = rule.get("interval_ms", 1000 * size / rule.get("bytes_per_second", 10)) / 1000

    def drip(connection, request, answer):
        data = connection.render(answer, request, False)
        start = len(data) - len(answer.body)
        connection.sock.sendall(data[:start])
        released = connection.stopping()
        for place in range(start, len(data), size):
            if released.wait(pause):
                return False
            connection.sock.sendall(data[place:place + size])
            request.sent_bytes = min(place + size, len(data)) - start
        return True

    return delivered(drip, answer)


def act_truncate(rule, _request, answer):
    count = rule.get("bytes", 10)

    def truncate(connection, request, answer):
        data = connection.render(answer, request, False)
        request.sent_bytes = min(count, max(len(answer.body) - 1, 0))
        connection.sock.sendall(data[:len(data) - len(answer.body) + request.sent_bytes])
        return False

    return delivered(truncate, answer)


def act_body(rule, _request, _answer):
    if "base64" in rule.arguments:
        body = base64.b64decode(rule.get("base64"))
    else:
        body = rule.get("text", "").encode()
    return Answer(rule.get("status", 200), body, dict(rule.get("headers", {})),
                  rule.get("content_type", "application/json"))


def act_raw(rule, _request, _answer):
    data = base64.b64decode(rule.get("base64", ""))

    def raw(connection, request, _answer):
        request.sent_bytes = len(data)
        connection.sock.sendall(data)
        return bool(rule.get("keep", False))

    return delivered(raw)


def act_redirect(rule, _request, _answer):
    return Answer(rule.get("status", 302), b"", {"Location": rule.get("location", "/")})


def act_html(rule, _request, _answer):
    page = ("<!DOCTYPE html><html><head><title>Maintenance</title></head>"
            "<body><h1>We will be back soon</h1></body></html>")
    return Answer(rule.get("status", 200), page.encode(), content_type="text/html; charset=utf-8")


def act_nesting(rule, _request, _answer):
    depth = rule.get("depth", 10000)
    return Answer(200, b"[" * depth + b"]" * depth)


def padded(megabytes):
    """Pieces of a valid JSON document of so many megabytes, nearly all of it blanks."""
    yield b'{"success":true,"data":['
    blank = b" " * CHUNK
    for _ in range(megabytes * (1024 * 1024 // CHUNK)):
        yield blank
    yield b"]}"


def act_gzip_bomb(rule, _request, _answer):
    body = gzip.compress(b"".join(padded(rule.get("mbytes", 100))), 9, mtime=0)
    answer = Answer(200, body, {"Content-Encoding": "gzip"})
    answer.encoded = True
    return answer


def act_huge(rule, _request, _answer):
    megabytes = rule.get("mbytes", 100)

    def huge(connection, request, answer):
        length = sum(map(len, padded(megabytes)))
        connection.sock.sendall(connection.head(answer, length))
        for piece in padded(megabytes):
            connection.sock.sendall(piece)
            request.sent_bytes += len(piece)
        return True

    return delivered(huge, Answer(200))


def act_chunked_huge(rule, _request, _answer):
    megabytes = rule.get("mbytes", 100)

    def chunked(connection, request, answer):
        connection.sock.sendall(connection.head(answer, None))
        for piece in padded(megabytes):
            connection.sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            request.sent_bytes += len(piece)
        connection.sock.sendall(b"0\r\n\r\n")
        return True

    return delivered(chunked, Answer(200))


def act_close_idle(_rule, _request, answer):
    return delivered(close_after, answer)


ACTIONS = {
    "drop_before": Action(act_drop, False, ("unread",), "close unprocessed and unanswered; "
                          "unread: true leaves the body in the socket, which resets"),
    "drop_after": Action(act_drop, True, (), "process, then close unanswered"),
    "reset": Action(act_reset, False, (), "close with RST"),
    "status": Action(act_status, False, ("status", "body", "headers", "content_type"),
                     "answer this status; the body defaults to the API's error form"),
    "status_after": Action(act_status, True, ("status", "body", "headers", "content_type"),
                           "process, then answer this status"),
    "rate_limited": Action(act_rate_limited, False, ("retry_after", "form"),
                           "429; retry_after: seconds, null for none, \"date\" for a date in "
                           "1 s; form: \"date\" writes the seconds as a date"),
    "hang": Action(act_hang, False, (), "never answer, not processed"),
    "hang_after": Action(act_hang, True, (), "process, never answer"),
    "delay": Action(act_delay, True, ("ms", "before"),
                    "answer later; processed first, unless before: true"),
    "drip": Action(act_drip, True, ("bytes_per_second", "chunk", "interval_ms"),
                   "send the answer's body in drops"),
    "truncate": Action(act_truncate, True, ("bytes",),
                       "announce the whole body, send bytes of it and close"),
    "body": Action(act_body, False, ("text", "base64", "content_type", "status", "headers"),
                   "answer this body"),
    "raw": Action(act_raw, False, ("base64", "keep"), "these bytes instead of an answer"),
    "redirect": Action(act_redirect, False, ("location", "status"), "302, or this status"),
    "gzip_bomb": Action(act_gzip_bomb, False, ("mbytes",), "compressed blanks in a JSON array"),
    "chunked_huge": Action(act_chunked_huge, False, ("mbytes",), "the same, in chunks"),
    "huge": Action(act_huge, False, ("mbytes",), "the same, with its length"),
    "html": Action(act_html, False, ("status",), "a page instead of JSON"),
    "nesting": Action(act_nesting, False, ("depth",), "an array in an array, so many times"),
    "close_idle": Action(act_close_idle, True, (),
                         "answer, then close without having announced it"),
    "close_every_second_unanswered": Action(
        act_drop, False, (), "close a kept connection unanswered at its second, fourth ... "
        "request, not processed"),
}


def plain(value):
    """Fractions of an argument as float: they are seconds and rates here, never money."""
    return float(value) if isinstance(value, Decimal) else value


class Rule:
    """One rule and how often it was met."""

    def __init__(self, plan, number, fields):
        if not isinstance(fields, dict):
            raise BadRule("a rule must be an object")
        action = fields.get("action")
        if action not in ACTIONS:
            raise BadRule("unknown action %s; known: %s" % (action, ", ".join(ACTIONS)))
        self.action = ACTIONS[action]
        allowed = FIELDS + self.action.arguments
        for name in fields:
            if name not in allowed:
                raise BadRule("unknown field %s; %s knows: %s" % (name, action,
                                                                  ", ".join(allowed)))
        self.plan = plan
        self.fields = fields
        self.arguments = {name: plain(fields[name]) for name in self.action.arguments
                          if name in fields}
        self.name = fields.get("name") or "%s #%d" % (action, number)
        self.api = fields.get("api")
        self.method = fields.get("method")
        try:
            self.path = re.compile(fields.get("path", ""))
        except (re.error, TypeError) as problem:
            raise BadRule("path: %s" % problem) from None
        nth = fields.get("nth")
        self.nth = None if nth is None else set(nth if isinstance(nth, list) else [nth])
        for field in ("every", "times", "after"):
            if type(fields.get(field, 1)) is not int or fields.get(field, 1) < (field == "every"):
                raise BadRule("%s must be a count" % field)
        self.after = fields.get("after", 0)
        self.probability = fields.get("probability")
        self.random = random.Random(fields.get("seed", number))
        self.process = fields.get("process", self.action.process)
        if action in ON_THE_ANSWER and not self.process:
            raise BadRule("%s needs the request to be processed" % action)
        self.second_only = action == "close_every_second_unanswered"
        self.matched = 0
        self.fired = 0

    def get(self, name, default=None):
        """An argument of the action."""
        return self.arguments.get(name, default)

    def names(self, request):
        """Whether the rule is about this request."""
        return ((self.api is None or self.api == request.api)
                and (self.method is None or self.method == request.method)
                and (not self.second_only or request.number % 2 == 0)
                and self.path.search(request.path) is not None)

    def count(self):
        """Count a request that the rule is about; whether the rule acts on it."""
        self.matched += 1
        place = self.matched - self.after
        acts = place > 0
        if acts and self.nth is not None:
            acts = place in self.nth
        if acts and "every" in self.fields:
            acts = place % self.fields["every"] == 0
        if acts and self.probability is not None:
            acts = self.random.random() < self.probability
        if acts and "times" in self.fields:
            acts = self.fired < self.fields["times"]
        return acts


class Plan:
    """All rules.  refuse(request, status) makes an answer in the API's error form."""

    def __init__(self, store, refuse):
        self.store = store
        self.refuse = refuse
        self.lock = threading.Lock()
        self.rules = []

    def replace(self, rules):
        """Put these rules in the place of all others.  BadRule leaves the old ones."""
        if not isinstance(rules, list):
            raise BadRule("the fault plan must be a list of rules")
        fresh = [Rule(self, number, fields) for number, fields in enumerate(rules, 1)]
        with self.lock:
            self.rules = fresh

    def choose(self, request):
        """The rule that acts on this request, or None."""
        if not self.rules:
            return None
        with self.lock:
            for rule in self.rules:
                if rule.names(request) and rule.count():
                    rule.fired += 1
                    return rule
        return None

    def show(self):
        """The rules with their counters."""
        return [{**rule.fields, "name": rule.name, "matched": rule.matched, "fired": rule.fired}
                for rule in self.rules]
