#!/usr/bin/python3
"""An HTTP/2 server over TLS that answers every request with one JSON object.

    http2.py CERTIFICATE KEY [old]

prints its port, then serves until its standard input ends.  The object names
the connection and the stream, so that a client's use of both can be seen.
Headers of requests are not decoded: no answer depends on them.  "old" offers
nothing newer than TLS 1.1.
"""

import socket
import ssl
import struct
import sys
import threading
import warnings

DATA, HEADERS, SETTINGS, PING = 0, 1, 4, 6
END_STREAM, ACK, END_HEADERS = 1, 1, 4


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def exactly(file, count):
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve(plain, context, number):
    """One connection, until the client ends it."""
    try:
        with context.wrap_socket(plain, server_side=True) as sock:
            file = sock.makefile("rb")
            exactly(file, len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
            sock.sendall(frame(SETTINGS, 0, 0))
            while True:
                head = exactly(file, 9)
                length = int.from_bytes(head[:3], "big")
                kind, flags, stream = struct.unpack(">BBI", head[3:])
                payload = exactly(file, length)
                if kind == SETTINGS and not flags & ACK:
                    sock.sendall(frame(SETTINGS, ACK, 0))
                elif kind == PING and not flags & ACK:
                    sock.sendall(frame(PING, ACK, 0, payload))
                elif kind in (HEADERS, DATA) and flags & END_STREAM:
                    body = b'{"connection":%d,"stream":%d}' % (number, stream)
                    # 0x88 is ":status: 200" in the static table.
                    sock.sendall(frame(HEADERS, END_HEADERS, stream, b"\x88") +
                                 frame(DATA, END_STREAM, stream, body))
    except (EOFError, OSError):
        pass


def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    context.set_alpn_protocols(["h2"])
    if "old" in sys.argv:
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        number = 0
        while True:
            number += 1
            threading.Thread(target=serve, args=(listener.accept()[0], context, number),
                             daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


main()
