"""Who may speak to the local AWS: whoever signs with the secret of this instance, or with a key that it gave out.

Whoever can create a function here runs code as the user. Any web page may send requests to 127.0.0.1, and so may every
other user of the machine; neither can sign. Only the chat's own WebSockets are for everybody, web pages included.
"""

import hashlib
import hmac
import os
import re
from urllib.parse import parse_qs

from ministack import app as ministack
from ministack.core import iam_evaluator, lambda_runtime, responses, router, sigv4
from ministack.services import lambda_svc

SIGNATURE = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;_-]+), ?Signature=([0-9a-f]{64})"
)
ACCOUNT = re.compile(r"\d{12}")
CHAT = re.compile(r"/_aws/execute-api/[0-9a-z]+/[A-Za-z0-9_$-]+/?")
CONNECTION = re.compile(r"(/_aws/execute-api/[0-9a-z]+)?/[A-Za-z0-9_$-]+/@connections/[^/]+")
ALIVE = "/_chatctl/alive"
NONCE = re.compile(rb"[0-9a-f]{32}")
QUERY_SIGNATURES = ("x-amz-algorithm", "x-amz-credential", "x-amz-signature", "awsaccesskeyid", "signature")
LARGEST_BODY = 100 * 1024 * 1024


class Refused(Exception):
    pass


def unpredictable(make, config, seed=os.urandom(32).hex()):
    """MiniStack makes the keys of a function from names that everybody knows; with this, nobody does."""
    return make({**config, "Role": f"{seed}/{config.get('Role', '')}"})


credentials = lambda_runtime.execution_credentials
for module in (lambda_runtime, lambda_svc):
    module.execution_credentials = lambda config: unpredictable(credentials, config)


class Guard:
    def __init__(self, app, port, secret, services):
        self.app, self.port, self.secret, self.services = app, port, secret, services
        self.hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        # As handlers written for AWS call their connections; MiniStack leads these calls here.
        self.own_host = re.compile(rf"[0-9a-z]+\.execute-api\.{re.escape(os.environ['MINISTACK_HOST'])}(:{port}|:443)?")

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            await self.http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.websocket(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def http(self, scope, receive, send):
        try:
            headers = fields(scope)
            self.refuse_browsers(headers)
            self.refuse_hosts(headers, scope["path"])
        except Refused as why:
            return await answer(send, 403, str(why))
        if scope["path"] == ALIVE:
            return await self.prove(scope, send)
        try:
            signature = self.claim(scope, headers)
            body = await whole(receive)
            self.verify(scope, headers, signature, body)
        except Refused as why:
            service = router.detect_service(scope["method"], scope["path"], headers, {})
            failure = iam_evaluator.AuthError("InvalidSignatureException", str(why))
            status, said, text = ministack._credential_failure(service, "", "chatctl", failure, headers)
            text = text.encode() if isinstance(text, str) else text
            return await answer(send, status, text.decode(), said)
        sent = False

        async def replay():
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)

    async def websocket(self, scope, receive, send):
        try:
            headers = fields(scope)
            if headers.get("host") not in self.hosts or not CHAT.fullmatch(scope["path"]):
                raise Refused
            self.verify_handshake(scope, headers)
        except Refused:
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self.app(scope, receive, send)

    def refuse_browsers(self, headers):
        """Browsers say for whom they ask: only what a person typed in has no other site behind it."""
        foreign = headers.get("sec-fetch-site", "none") != "none" or headers.get("sec-fetch-mode") == "navigate"
        if foreign or "origin" in headers:
            raise Refused("the local AWS is not for web pages")

    def refuse_hosts(self, headers, path):
        """A name that an attacker's DNS may point at us is not ours."""
        host = headers.get("host", "")
        if host not in self.hosts and not (self.own_host.fullmatch(host) and CONNECTION.fullmatch(path)):
            raise Refused(f"the local AWS is at 127.0.0.1:{self.port}")

    async def prove(self, scope, send):
        """Answers who asks whether it is us: only the holder of the secret can."""
        nonce = scope["query_string"]
        if scope["method"] != "GET" or not NONCE.fullmatch(nonce):
            return await answer(send, 404, "")
        said = b"chatctl alive %d %s" % (self.port, nonce)
        await answer(send, 200, hmac.new(self.secret.encode(), said, hashlib.sha256).hexdigest())

    def claim(self, scope, headers):
        """The signature that a request carries in its header, for something that we offer."""
        query = query_of(scope)
        if any(name.lower() in QUERY_SIGNATURES for name in query):
            raise Refused("signatures in the query are not taken")
        found = SIGNATURE.fullmatch(headers.get("authorization", ""))
        if not found:
            raise Refused("the request is not signed; `chatctl local env` prints the credentials")
        key, date, region, service, names, signature = found.groups()
        if not {"host", "x-amz-date"} <= set(names.split(";")):
            raise Refused("the signature leaves out the host or the date")
        path = scope["path"]
        offered = router.detect_service(scope["method"], path, headers, query) in self.services
        if not CONNECTION.fullmatch(path) and (not offered or path.startswith("/_")):
            raise Refused("the local AWS does not offer this")
        return sigv4.HeaderSignature(key, date, region, service, names, signature, headers.get("x-amz-date", ""))

    def verify(self, scope, headers, signature, body):
        stated = headers.get("x-amz-content-sha256")
        if stated and stated != hashlib.sha256(body).hexdigest():
            raise Refused("the body is not the one that was signed")
        if sigv4.request_time_failure(signature):
            raise Refused("the signature is too old, or its clock is wrong")
        secret = self.secret_of(signature.access_key_id, headers.get("x-amz-security-token", ""))
        self.compare(scope, headers, signature, secret, body, presigned=False)

    def verify_handshake(self, scope, headers):
        """The chat is for everybody; but who says who they are must be that."""
        query = query_of(scope)
        if "authorization" in headers and headers["authorization"].startswith("AWS"):
            return self.verify(scope, headers, self.claim({**scope, "method": "GET"}, headers), b"")
        if not any(name.lower() in QUERY_SIGNATURES for name in query):
            return
        if any(len(values) > 1 for values in query.values()):
            raise Refused
        given = {name: values[0] for name, values in query.items()}
        signature = sigv4.parse_query_signature(query)
        if isinstance(signature, tuple) or given.get("X-Amz-Algorithm") != "AWS4-HMAC-SHA256":
            raise Refused
        try:
            if sigv4.presigned_request_is_expired(signature.amz_date, given.get("X-Amz-Expires", "")):
                raise Refused
        except ValueError:
            raise Refused from None
        secret = self.secret_of(signature.access_key_id, given.get("X-Amz-Security-Token", ""))
        self.compare({**scope, "method": "GET"}, headers, signature, secret, b"", presigned=True)

    def secret_of(self, key, token):
        """The secret behind an access key: an account has that of this instance, all others were given out."""
        if ACCOUNT.fullmatch(key):
            if token:
                raise Refused("the credentials of the local AWS have no session token")
            return self.secret
        found = None
        if not iam_evaluator.is_root_access_key(key):
            try:
                account = responses._account_from_sts_session(key) or iam_evaluator.find_iam_access_key_account(key)
                found = iam_evaluator.resolve_credential(key, account, token) if account else None
            except iam_evaluator.AmbiguousAccessKeyError:
                pass
        if not isinstance(found, iam_evaluator.ResolvedCredential):
            raise Refused("the access key is none of this local AWS; `chatctl local env` prints its credentials")
        return found.secret_access_key

    def compare(self, scope, headers, signature, secret, body, presigned):
        path = scope["raw_path"].decode("latin-1")
        failure = sigv4.header_signature_failure(
            signature, secret, scope["method"], path, query_of(scope), headers, body, presigned=presigned
        )
        if failure:
            raise Refused("the signature is not that of this local AWS; `chatctl local env` prints its credentials")


def fields(scope):
    headers = {}
    for name, value in scope["headers"]:
        name = name.decode("latin-1").lower()
        if name in headers and name in ("authorization", "host", "x-amz-date", "x-amz-security-token"):
            raise Refused("a header is there twice")
        value = sigv4.decode_header_value(value)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def query_of(scope):
    return parse_qs(scope["query_string"].decode("utf-8", "replace"), keep_blank_values=True)


async def whole(receive):
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise Refused("the request was broken off")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > LARGEST_BODY:
            raise Refused("the request is too large")
        if not message.get("more_body"):
            return b"".join(chunks)


async def answer(send, status, text, headers=None):
    body = text.encode()
    headers = {"content-type": "text/plain", **{name.lower(): value for name, value in (headers or {}).items()}}
    headers["content-length"] = str(len(body))
    pairs = [(name.encode(), str(value).encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
