"""The simulator as an ASGI application.

Routes to the provider's wire formats, its statistics, and nothing else.
"""

from __future__ import annotations

import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from penstock.simulator.anthropic_wire import MessagesWire
from penstock.simulator.config import SimulatorConfig
from penstock.simulator.embeddings_wire import EmbeddingsWire
from penstock.simulator.exchange import NOTICE, Exchange
from penstock.simulator.openai_wire import ChatWire, OpenAIFaces, model_body, model_not_found, models_body
from penstock.simulator.provider import Clock, Provider
from penstock.simulator.responses_wire import ResponsesWire
from penstock.simulator.wire import BadCall, Failure, Json, Wire

ANY_MODEL = "simulated-model"
_NOTICE = {NOTICE[0].decode("ascii"): NOTICE[1].decode("ascii")}


class Endpoint:
    """One route as a bare ASGI application: nothing stands between the server and the provider."""

    def __init__(self, provider: Provider, wire: Wire) -> None:
        self._provider = provider
        self._wire = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._provider.handle(self._wire, scope, receive, send)


class Faces:
    """The routes that read or reset instead of calling a model."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def models(self, request: Request) -> Response:
        names = self._provider.config.models or (ANY_MODEL,)
        wanted = request.path_params.get("model")
        try:
            self._provider.check_key(Exchange(request.scope, request.receive, _no_send, "req_sim0"))
            if wanted is None:
                return _answer(200, models_body(names))
            if self._provider.config.models and wanted not in names:
                raise model_not_found(wanted)
        except BadCall as bad:
            return _answer(*OpenAIFaces().failure(bad.failure, "req_sim0"))
        return _answer(200, model_body(wanted))

    async def stats(self, request: Request) -> Response:
        """Statistics; `?paid=all` adds the two counts of every request hash."""
        run = self._provider.run
        report = run.report()
        if request.query_params.get("paid") == "all":
            report["paid"]["all"] = run.stats.paid()
        return _answer(200, report)

    async def reset(self, request: Request) -> Response:
        self._provider.reset()
        return _answer(200, {"reset": True})


def create_app(config: SimulatorConfig, clock: Clock = time.monotonic) -> Starlette:
    """The whole simulator; `clock` measures the limits. Its provider is at `app.state.provider`."""
    provider = Provider(config, clock)
    faces = Faces(provider)
    chat, embeddings = ChatWire(), EmbeddingsWire(config.embedding_dimensions)
    wires: dict[str, Wire] = {
        "/v1/chat/completions": chat,
        "/v1/responses": ResponsesWire(),
        "/v1/embeddings": embeddings,
        "/v1/messages": MessagesWire(),
        "/openai/deployments/{deployment}/chat/completions": chat,
        "/openai/deployments/{deployment}/embeddings": embeddings,
    }
    routes = [Route(path, Endpoint(provider, wire), methods=["POST"]) for path, wire in wires.items()]
    routes += [
        Route("/v1/models", faces.models, methods=["GET"]),
        Route("/v1/models/{model:path}", faces.models, methods=["GET"]),
        Route("/simulator/stats", faces.stats, methods=["GET"]),
        Route("/simulator/reset", faces.reset, methods=["POST"]),
    ]
    app = Starlette(routes=routes, exception_handlers={HTTPException: _wrong_address})
    app.state.provider = provider
    return app


def _answer(status: int, body: Json) -> Response:
    return JSONResponse(body, status, headers={**_NOTICE, "x-request-id": "req_sim0"})


async def _wrong_address(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 500
    message = f"Invalid URL ({request.method} {request.url.path})"
    return _answer(*OpenAIFaces().failure(Failure(status, message, "invalid_request_error"), "req_sim0"))


async def _no_send(message: object) -> None:
    raise AssertionError(f"nothing may be sent here: {message!r}")
