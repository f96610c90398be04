"""From a request to its answer: journal, faults, credentials, limits, handlers."""

import sys
import threading
import traceback

import control
import cupsource_v1
import cupsource_v2
import customhub_v1
from cupsource_common import Refused
from faults import Plan
from journal import Journal
from store import Store
from wire import Answer, Malformed

# The module that serves each beginning of a path.  A module has ROUTES of (method,
# path, handler) and a GATE, a module with authenticate(), authorize(),
# rate_limited() and fail().
MODULES = (("/v1/", cupsource_v1), ("/v2/", cupsource_v2), ("/api/", customhub_v1))


class Application:
    """The sandbox behind its listeners."""

    def __init__(self, options, log_path=None):
        self.store = Store(options)
        self.journal = Journal(log_path)
        self.plan = Plan(self.store, self.refuse)
        self.released = threading.Event()
        self.ports = {}

    def release(self):
        """Let go of every connection that hangs or waits."""
        released, self.released = self.released, threading.Event()
        released.set()

    def stopping(self):
        """The event of the next release."""
        return self.released

    def refuse(self, request, status):
        """A refusal in the form of the request's API."""
        return self.module(request).GATE.fail(self.store, request, status)

    @staticmethod
    def module(request):
        """The module that serves this path; CustomHub's also answers for nobody's paths."""
        for beginning, module in MODULES:
            if request.path.startswith(beginning):
                return module
        return customhub_v1

    def answer(self, request):
        """The answer to a request; called by the connection's thread."""
        connection = request.connection
        if request.path.startswith("/_control/"):
            connection.read_body(request)
            return control.answer(self, request)
        request.api = self.module(request).API
        rule = self.plan.choose(request)
        try:
            if rule is None or not rule.get("unread"):
                connection.read_body(request)
        finally:
            self.journal.add(request)
        answer = Answer(0)
        try:
            answer = self.fulfil(request, rule)
        except Malformed:
            raise
        except Exception:                                   # a bug here must show in the test
            traceback.print_exc(file=sys.stderr)
            answer = self.refuse(request, 500)
        finally:
            if request.key is not None:
                request.entry["key"] = request.key.key
            if answer.delivery is None:
                connection.encode(request, answer)
                request.sent_bytes = len(answer.body)
                self.journal.finish(request, answer.status)
        if answer.delivery is not None:
            answer.delivery = self.watched(answer.delivery)
        return answer

    def watched(self, delivery):
        """The delivery, with a note in the journal once it is over."""
        def deliver(connection, request, answer):
            request.entry["status"] = answer.status or None
            try:
                return delivery(connection, request, answer)
            finally:
                self.journal.finish(request, answer.status or None)
        return deliver

    def fulfil(self, request, rule):
        """Process the request, with the fault of the rule."""
        connection = request.connection
        request.delay = self.store.settings["latency_ms"] / 1000
        if rule is None:
            answer = self.process(request)
            connection.linger(request)
            return answer
        request.entry["fault"] = rule.name
        if rule.fields["action"] == "delay":
            rule.action.act(rule, request, None)            # the wait counts while processing
            if rule.get("before"):
                connection.linger(request)
            answer = self.process(request)
            connection.linger(request)
            return answer
        answer = self.process(request) if rule.process else None
        connection.linger(request)
        return rule.action.act(rule, request, answer)

    def process(self, request):
        """What the API does with the request."""
        store = self.store
        module = self.module(request)
        gate = module.GATE
        if not request.path.startswith(tuple(beginning for beginning, _ in MODULES)):
            return gate.fail(store, request, 404)
        try:
            request.key = gate.authenticate(store, request)
            if request.key is not None:
                wait = store.take_allowance(request.key)
                if wait is not None:
                    return gate.rate_limited(store, request, wait)
            handler, arguments = None, ()
            for method, path, candidate in module.ROUTES:
                found = path.fullmatch(request.path)
                if found is not None and method == request.method:
                    handler, arguments = candidate, found.groups()
            if request.key is not None:
                gate.authorize(store, request, handler)
            if handler is None:
                return gate.fail(store, request, 404)
            return handler(store, request, *arguments)
        except Refused as refused:
            return refused.answer
