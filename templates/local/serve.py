"""Runs MiniStack for `chatctl`: on a port of its own at 127.0.0.1, once per record, out of reach of web pages.

usage: serve.py RECORD NONCE [--until-eof]

RECORD is the JSON file in which to say where we listen; whoever holds the lock beside it is the one that runs.
NONCE names this process: it stands in our command line, in RECORD and in what we answer, so that nobody takes
another process for us. With --until-eof we live as long as the one who holds the other end of our stdin.
"""

import asyncio
import fcntl
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import threading

ALREADY_RUNNING = 75
SERVICES = ("apigateway", "cloudwatch_logs", "dynamodb", "iam", "lambda_svc", "sts")


def die(*_):
    """The Lambda workers are in our process group; nothing of it outlives us."""
    os.killpg(0, signal.SIGKILL)


def die_at_eof(record, folder):
    while os.read(0, 4096):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    for file in (record, f"{record}.lock"):
        os.path.exists(file) and os.remove(file)
    die()


def is_local(headers, kind):
    """Whether a request comes from a program on this machine.

    Any web page may send requests to 127.0.0.1, and whoever can create a function here runs code. Browsers say for
    whom they ask: `Origin` on whatever could change something, and a name in `Host` that an attacker's DNS may point
    at us. WebSockets are for browsers too, so there the origin is free.
    """
    host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
    known = host in ("127.0.0.1", "localhost") or host.endswith(".amazonaws.com")
    return known and (kind == "websocket" or b"origin" not in headers)


def guard(app, nonce):
    async def answer(send, status, body):
        headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def guarded(scope, receive, send):
        kind = scope["type"]
        if kind in ("http", "websocket") and not is_local(dict(scope["headers"]), kind):
            if kind == "http":
                await answer(send, 403, b"only for programs on this machine")
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
        elif kind == "http" and scope["path"] == "/_chatctl/nonce":
            await answer(send, 200, nonce.encode())
        else:
            await app(scope, receive, send)

    return guarded


def main(record, nonce, until_eof):
    os.setsid()
    lock = open(f"{record}.lock", "w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(ALREADY_RUNNING)
    signal.signal(signal.SIGTERM, die)
    if until_eof:
        threading.Thread(target=die_at_eof, args=(record, os.environ["HOME"]), daemon=True).start()

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    port = listener.getsockname()[1]
    os.environ["GATEWAY_PORT"] = str(port)  # read by MiniStack while it is imported
    os.environ["CHATCTL_CONNECTIONS_ENDPOINT"] = f"http://127.0.0.1:{port}/_aws/execute-api"  # read by our handlers

    with open(f"{record}.new", "w") as file:
        json.dump({"pid": os.getpid(), "port": port, "nonce": nonce, "folder": os.environ["HOME"]}, file)
    os.replace(f"{record}.new", record)

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    for service in SERVICES:  # MiniStack would import each in its first call
        importlib.import_module(f"ministack.services.{service}")
    importlib.import_module("likeness")

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = os.environ["LOG_LEVEL"]
    forever = asyncio.Event()
    asyncio.run(serve(guard(app, nonce), config, shutdown_trigger=forever.wait))


main(sys.argv[1], sys.argv[2], "--until-eof" in sys.argv)
