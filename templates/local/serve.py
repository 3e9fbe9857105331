"""Runs MiniStack for `chatctl`: on a port of its own at 127.0.0.1, once per record.

usage: serve.py RECORD NONCE [--until-eof]

RECORD is the JSON file, closed to others, in which to say where we listen and with which credentials; whoever holds the
lock beside it is the one that runs. NONCE names this process and its folder, and is no secret. With --until-eof we live
as long as the one who holds the other end of our stdin, a test, which has accounts of its own.
"""

import asyncio
import fcntl
import importlib
import json
import os
import secrets
import shutil
import signal
import socket
import sys
import threading
import time

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


def die_without(record, folder):
    """What nobody can find any more ends."""
    mine = os.stat(record).st_ino
    while True:
        time.sleep(1)
        try:
            if os.path.isdir(folder) and os.stat(record).st_ino == mine:
                continue
        except OSError:
            pass
        die()


def for_tests(app, strict):
    """No web page, under no foreign name; tests sign as whom they like."""

    async def guarded(scope, receive, send):
        headers = dict(scope.get("headers", ()))
        host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0]
        known = host in ("127.0.0.1", "localhost") or host.endswith(f".execute-api.{os.environ['MINISTACK_HOST']}")
        if scope["type"] == "http" and (b"origin" in headers or b"sec-fetch-site" in headers or not known):
            headers = [(b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        elif scope["type"] == "http" and scope["path"].startswith("/_chatctl/"):
            await strict(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded


def write(record, facts):
    new = f"{record}.new"
    if os.path.lexists(new):
        os.remove(new)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
        json.dump(facts, file)
    os.replace(new, record)


def bind(last):
    """A socket at the port of last time, so that clients find us again; where that is taken, at any."""
    for port in (last, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(128)
            return listener
        except OSError:
            listener.close()
    raise OSError("no port is free")


def last_port(path):
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as file:
            port = int(file.read(8))
            return port if 1024 <= port <= 65535 else 0
    except (OSError, ValueError):
        return 0


def main(record, nonce, until_eof):
    os.setsid()
    os.umask(0o077)
    lock = os.open(f"{record}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(ALREADY_RUNNING)
    signal.signal(signal.SIGTERM, die)
    if until_eof:
        threading.Thread(target=die_at_eof, args=(record, os.environ["HOME"]), daemon=True).start()

    port_file = os.path.join(os.path.dirname(record), "port")
    listener = bind(0 if until_eof else last_port(port_file))
    port = listener.getsockname()[1]
    os.environ["GATEWAY_PORT"] = str(port)  # read by MiniStack while it is imported
    os.environ["CHATCTL_CONNECTIONS_ENDPOINT"] = f"http://127.0.0.1:{port}/_aws/execute-api"  # read by our handlers

    folder, account, secret = os.environ["HOME"], str(100_000_000_000 + secrets.randbelow(900_000_000_000)), secrets.token_hex(32)
    write(record, {
        "pid": os.getpid(), "port": port, "nonce": nonce, "folder": folder, "accessKey": account, "secret": secret,
    })
    if not until_eof:
        write(port_file, port)
    threading.Thread(target=die_without, args=(record, folder), daemon=True).start()

    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from ministack.app import app

    for service in SERVICES:  # MiniStack would import each in its first call
        importlib.import_module(f"ministack.services.{service}")
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    importlib.import_module("likeness")
    guard = importlib.import_module("guard")

    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = 75
    config.loglevel = os.environ["LOG_LEVEL"]
    forever = asyncio.Event()
    guarded = guard.Guard(app, port, secret, os.environ["SERVICES"].split(","))
    if until_eof:
        guarded = for_tests(app, guarded)
    asyncio.run(serve(guarded, config, shutdown_trigger=forever.wait))


main(sys.argv[1], sys.argv[2], "--until-eof" in sys.argv)
