"""Where MiniStack 1.5.33 differs from AWS in what a WebSocket API with functions behind it needs."""

import functools
import json
import threading
import time

from ministack.core import iam_actions, lambda_runtime
from ministack.services import apigateway, lambda_svc

NO_ROUTE = {"routeKey": None}


def frame(message, connection_id, request_id):
    return {"body": json.dumps({"message": message, "connectionId": connection_id, "requestId": request_id})}


def route_for(match, api_id, key):
    """`$connect` and `$disconnect` never fall back to `$default`; an action that nobody routes is told so."""
    route = match(api_id, key)
    if key in ("$connect", "$disconnect"):
        return route if route and route["routeKey"] == key else None
    return route or NO_ROUTE


async def answer(invoke, api_id, account, region, route, stage, connection_id, event, request_id, *args, **kwargs):
    """What a handler returns reaches the client only by a route response; that it failed always does."""
    if route is NO_ROUTE:
        return frame("Forbidden", connection_id, request_id)
    response = await invoke(api_id, account, region, route, stage, connection_id, event, request_id, *args, **kwargs)
    if event != "MESSAGE" or not isinstance(response, dict):
        return response if isinstance(response, dict) else None
    try:
        succeeded = 200 <= int(response.get("statusCode", 200)) < 300
    except (TypeError, ValueError):
        succeeded = False
    if not succeeded:
        return frame("Internal server error", connection_id, request_id)
    return response if route.get("routeResponseSelectionExpression") else None


class Logged:
    """A worker whose output gets into CloudWatch Logs, as that of functions called in other ways does."""

    def __init__(self, worker):
        self.worker = worker

    def invoke(self, event, request_id):
        began = time.monotonic()
        result = self.worker.invoke(event, request_id)
        said = [result.get("log"), result.get("trace") or result.get("error")]
        lambda_svc._emit_lambda_logs(
            {"config": self.worker.config}, request_id, "\n".join(filter(None, said)),
            result.get("status") == "error", int((time.monotonic() - began) * 1000),
        )
        return result


def retire(kill, workers):
    """A function may finish its call when its code or settings change."""

    def when_done():
        for worker in workers:
            with worker._lock:
                kill([worker])

    workers = list(workers)
    threading.Thread(target=when_done, daemon=True).start()


def singular(extract, service, *args, **kwargs):
    """Of SQS, a batch is allowed by the action of the single call."""
    action = extract(service, *args, **kwargs)
    return action.removesuffix("Batch") if service == "sqs" and action else action


def around(module, name, wrapper):
    setattr(module, name, functools.partial(wrapper, getattr(module, name)))


around(iam_actions, "extract_iam_action", singular)
around(apigateway, "_match_ws_route", route_for)
around(apigateway, "_invoke_ws_lambda", answer)
around(lambda_runtime, "get_or_create_worker", lambda get, *args, **kwargs: Logged(get(*args, **kwargs)))
around(lambda_runtime, "kill_workers", retire)
# How long to wait for output, in seconds: for a first line, after the last one, at most. MiniStack's own 50 ms for the
# first line are added to each call of a handler that prints nothing.
lambda_runtime.Worker._drain_stderr_bounded.__defaults__ = (0.005, 0.002, 0.05)
