#!/usr/bin/python3
"""A stand-in for the three partner APIs, for tests, for the demo and for development.

Prints one line of JSON with its ports, then serves until it is told to stop.
README.md has the whole story; --help the options.
"""

import argparse
import os
import signal
import sys
import textwrap
import threading

sys.dont_write_bytecode = True          # the directory may belong to someone else

import faults                           # noqa: E402  (after the line above)
import jsonio                           # noqa: E402
import tls                              # noqa: E402
from app import Application             # noqa: E402
from control import Bad, set_rate_limit  # noqa: E402
from store import SHAPES, apply_shape, default_settings  # noqa: E402
from wire import Listener               # noqa: E402

EPILOG = """
credentials that are known from the start
  cupsource-v1   cs_live_v1_demo              cs_live_unverified: billing not verified, 403
  cupsource-v2   cs_live_sk_8f7d6c5b4a3e2d1f  webhook secret: whsec_demo
  both of them   cs_live_forbidden            403 for everything
  customhub-v1   ek_live_demo / esk_live_demo          all scopes
                 ek_live_readonly / esk_live_readonly  products_r and orders_r only
                 ek_live_noscope / esk_live_noscope    no scope
                 ek_live_other / esk_live_other        another dealer

shapes (the documents leave these open; the first value is the default)
{shapes}

fault actions (a file for --faults holds a JSON list of rules)
{actions}

examples
  server.py --port 8080 --lifecycle auto
  server.py --tls /tmp/certs --tls-expired-port --products 100000 --rate-limit 0
  curl -H 'Authorization: Bearer cs_live_v1_demo' http://127.0.0.1:8080/v1/products
"""


WIDTH = 98
STOPS = (signal.SIGTERM, signal.SIGINT)


def port_number(text):
    """A port of the command line."""
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return number


def describe_action(name, width):
    """An action of the fault plan and what it does, for the help."""
    indent = " " * (width + 4)
    return textwrap.fill(faults.ACTIONS[name].summary, WIDTH, subsequent_indent=indent,
                         initial_indent="  %-*s  " % (width, name))


def parser():
    """The command line."""
    width = max(map(len, faults.ACTIONS))
    epilog = EPILOG.format(
        shapes="\n".join("  %-10s %s" % (name, ", ".join(values))
                         for name, values in SHAPES.items()),
        actions="\n".join(describe_action(name, width) for name in faults.ACTIONS))
    made = argparse.ArgumentParser(
        prog="server.py", usage="server.py [option ...]",
        description=__doc__.splitlines()[0], epilog=epilog,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=30, width=WIDTH))
    add = made.add_argument_group("where it listens").add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address (default: 127.0.0.1)")
    add("--port", type=port_number, default=0, metavar="N", help="http port (default: a free one)")
    add("--tls", metavar="DIR",
        help="also https; certificates are made in DIR if absent: ca.pem, server.pem, ...")
    add("--tls-port", type=port_number, default=0, metavar="N",
        help="https port (default: a free one)")
    for name, what in (("wrong", "a certificate for another host"),
                       ("expired", "an expired certificate"),
                       ("untrusted", "a certificate of an unknown authority")):
        add("--tls-%s-port" % name, type=port_number, nargs="?", const=0, metavar="N",
            help="one more https port, with %s" % what)
    add = made.add_argument_group("what it sells").add_argument
    add("--products", type=int, default=142, metavar="N",
        help="Cup Source products (default: 142)")
    add("--models", type=int, default=27, metavar="N", help="CustomHub models (default: 27)")
    add("--variations", type=int, metavar="N",
        help="variations of each model (default: 188 for the first, fewer for the others)")
    add("--seed", type=int, default=1, metavar="S", help="of the made-up catalogue (default: 1)")
    add = made.add_argument_group("how it behaves").add_argument
    add("--rate-limit", type=int, metavar="N",
        help="requests a minute and key, 0 for no limit (default: as documented, 120, 120, 60)")
    add("--retry-after-date", action="store_true",
        help="Retry-After as an HTTP date instead of seconds")
    add("--latency-ms", type=float, default=0, metavar="N", help="wait before each answer")
    add("--token-ttl", type=float, default=86400, metavar="SECONDS",
        help="life of a CustomHub token (default: 86400)")
    add("--lifecycle", choices=("manual", "auto"), default="manual",
        help="auto: looking at an order moves it on one step (default: manual)")
    add("--step-seconds", type=float, default=1, metavar="S",
        help="least time between two steps of lifecycle auto (default: 1)")
    add("--order-status", nargs="?", const="on", choices=("on", "off", "405"), default="off",
        help="answer the undocumented GET /v1|v2/orders/{id} (default: off, 404)")
    add("--shape", default="", metavar="LIST",
        help="forms of what the documents leave open, e.g. bare,camel,error=string")
    add("--faults", metavar="FILE", help="fault plan, a JSON list of rules")
    add = made.add_argument_group("running").add_argument
    add("--log", metavar="FILE", help="append one line per request")
    add("--parent", action="store_true", help="stop when standard input is closed")
    return made


def settings_of(options):
    """The settings that the command line asks for."""
    settings = default_settings()
    if options.rate_limit is not None:
        set_rate_limit(settings, options.rate_limit)
    settings["retry_after"] = "date" if options.retry_after_date else "seconds"
    settings["latency_ms"] = options.latency_ms
    settings["token_ttl"] = options.token_ttl
    settings["lifecycle"] = options.lifecycle
    settings["step_seconds"] = options.step_seconds
    settings["order_status"] = {"on": True, "off": False, "405": 405}[options.order_status]
    apply_shape(settings["shape"], options.shape)
    return settings


def start(options):
    """Application and listeners, already serving; what to print about them."""
    app = Application({"products": options.products, "models": options.models,
                       "variations": options.variations, "seed": options.seed,
                       "settings": settings_of(options)}, options.log)
    if options.faults:
        with open(options.faults, encoding="utf-8") as file:
            app.plan.replace(jsonio.loads(file.read()))
    wanted = [("port", options.port, None)]
    if options.tls:
        wanted.append(("tls_port", options.tls_port, "server"))
        wanted += [("tls_%s_port" % name, port, leaf) for name, port, leaf in (
            ("wrong", options.tls_wrong_port, "wrong-host"),
            ("expired", options.tls_expired_port, "expired"),
            ("untrusted", options.tls_untrusted_port, "untrusted")) if port is not None]
    listeners = []
    for name, port, leaf in wanted:
        context = tls.context(options.tls, leaf) if leaf else None
        listener = Listener(options.host, port, app.answer, app.store.now, app.stopping, context)
        app.ports[name] = listener.port
        listeners.append(listener)
    for listener in listeners:
        listener.start()
    line = dict(app.ports)
    if options.tls:
        line["ca_file"] = os.path.join(os.path.abspath(options.tls), "ca.pem")
    line["pid"] = os.getpid()
    return app, listeners, line


def main():
    """Serve until SIGTERM, SIGINT or, with --parent, the end of standard input."""
    options = parser().parse_args()
    # Blocked here, and so in every thread to come: a handler would not wake the main
    # thread from its wait when the kernel picks another thread to receive the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        app, listeners, line = start(options)
    except (OSError, ValueError, RuntimeError, Bad) as problem:
        sys.exit("server.py: %s" % problem)
    print(jsonio.dumps(line), flush=True)
    if options.parent:
        def watch():
            while sys.stdin.buffer.read(4096):
                pass
            os.kill(os.getpid(), signal.SIGTERM)
        threading.Thread(target=watch, daemon=True).start()
    signal.sigwait(STOPS)
    for listener in listeners:
        listener.close()
    app.release()
    # Connection threads may be anywhere; nothing they hold outlives the process.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
