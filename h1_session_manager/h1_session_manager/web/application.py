# SPDX-License-Identifier: Apache-2.0
"""The page's ASGI application: what is served, to whom, and what a page may ask for.

Starlette and uvicorn: the two that ASGI's users know, without a build step; the socket's library is the one that the
policy server's simulation uses too. Every answer carries a strict content policy; every request passes `_Guard`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from h1_session_manager.web.access import COOKIE, Access, TooManyTriesError
from h1_session_manager.web.controls import Controls, Page
from h1_session_manager.web.episodes import Episodes, EpisodesError
from h1_session_manager.web.frames import Frames, Window
from h1_session_manager.web.live import Live
from h1_training_node.page_tokens import Role

STATIC = Path(__file__).parent / "static"
LIVE_PERIOD_S = 0.1
MOST_PAGES = 32
MOST_MESSAGE_BYTES, MOST_BODY_BYTES = 1024, 4096
_MOST_MESSAGES_PER_S = 40
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY_VIOLATION, _TRY_LATER = 1008, 1013


class Session(Protocol):
    """The session as the page reaches it; all is asked, the session manager decides."""

    async def ask(self, request: str, who: str) -> tuple[bool, str]:
        """Call `session_manager/<request>`; returns its answer."""

    def stop(self, who: str) -> None:
        """Publish an emergency stop."""


@dataclass(frozen=True)
class Parts:
    """What the application puts together."""

    access: Access
    controls: Controls
    live: Live
    frames: Frames
    episodes: Episodes
    session: Session
    is_tls: bool


def application(parts: Parts) -> ASGIApp:
    """The whole page."""
    pages, episodes = _Pages(parts), _EpisodePages(parts)
    routes = [
        Route("/", pages.index),
        Route("/sign-in", pages.sign_in, methods=["POST"]),
        Route("/api/episodes", episodes.listing),
        Route("/api/detail", episodes.detail),
        Route("/api/thumbnail", episodes.thumbnail),
        Route("/api/images", episodes.images),
        Route("/api/change", episodes.change, methods=["POST"]),
        WebSocketRoute("/live", LiveSocket(parts).serve),
        WebSocketRoute("/images", partial(_serve_images, parts.frames)),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return _Guard(Starlette(routes=routes), parts)


class _Guard:
    """Before everything else: known host, known browser, own origin; and the headers of every answer."""

    _OPEN = frozenset({"/", "/sign-in", "/static/page.css", "/static/sign_in.html"})

    def __init__(self, application: ASGIApp, parts: Parts) -> None:
        self._application, self._parts = application, parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._application(scope, receive, _with_headers(send))
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(_POLICY_VIOLATION, bytes(refusal.body).decode()[:100])
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers, access = Headers(scope=scope), self._parts.access
        host = headers.get("host", "")
        if not access.is_known_host(host):
            return PlainTextResponse(
                f"This page does not answer to the name '{host[:100]}'. Use its address, or add the name to the "
                "parameter allowed_hosts.\n", 421,
            )  # fmt: skip
        changes = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if changes and not access.is_own_origin(headers.get("origin", ""), host, is_tls=self._parts.is_tls):
            return PlainTextResponse("Requests of other pages are refused.\n", 403)
        foreign = headers.get("sec-fetch-site", "none") not in ("same-origin", "none")  # another port is same-site
        if foreign and headers.get("sec-fetch-mode") != "navigate":
            return PlainTextResponse("Requests of other pages are refused.\n", 403)
        if int(headers.get("content-length", "0") or 0) > MOST_BODY_BYTES:
            return PlainTextResponse(f"At most {MOST_BODY_BYTES} bytes are read.\n", 413)
        if scope["path"] not in self._OPEN and _role(scope, access) is None:
            return PlainTextResponse("Open the page by its link with the token first.\n", 401)
        return None


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_HEADERS)
        await send(message)

    return sending


def _role(scope: Scope, access: Access) -> Role | None:
    return access.role(Request({**scope, "type": "http"}).cookies.get(COOKIE, ""))


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


class _Pages:
    """The page itself, and signing in to it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def index(self, request: Request) -> Response:
        """With `?token=`: a cookie, and the same address without it. Else the page, or the question for a token."""
        if "token" in request.query_params:
            return self._signed_in(request, request.query_params["token"])
        known = self._parts.access.role(request.cookies.get(COOKIE, "")) is not None
        name = "index.html" if known else "sign_in.html"
        text = (STATIC / name).read_text(encoding="utf-8")
        return Response(text, 200 if known else 401, media_type="text/html")

    async def sign_in(self, request: Request) -> Response:
        form = await _body(request)
        prefix, _, token = form.decode("ascii", "replace").partition("=")
        return self._signed_in(request, token.strip() if prefix == "token" else "")

    def _signed_in(self, request: Request, token: str) -> Response:
        try:
            cookie = self._parts.access.sign_in(token, _address(request.scope))
        except TooManyTriesError as error:
            wait_s = math.ceil(float(error.args[0]))
            return PlainTextResponse(
                f"Too many wrong tokens; try again in {wait_s} s.\n", 429, headers={"Retry-After": str(wait_s)}
            )
        if cookie is None:
            return PlainTextResponse("This token is wrong. The session prints the right link at its start.\n", 401)
        response = RedirectResponse("/", 303)
        response.set_cookie(COOKIE, cookie, httponly=True, samesite="strict", secure=self._parts.is_tls, path="/")
        return response


async def _body(request: Request) -> bytes:
    """At most `MOST_BODY_BYTES`, whatever the header says."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY_BYTES:
            return b""
    return body


class _EpisodePages:
    """What has been recorded, and what changes it."""

    def __init__(self, parts: Parts) -> None:
        self._access, self._episodes = parts.access, parts.episodes

    async def listing(self, _: Request) -> Response:
        try:
            return Response(await self._episodes.listing(), media_type="application/json")
        except EpisodesError as error:
            return PlainTextResponse(str(error), 500)

    async def detail(self, request: Request) -> Response:
        return await self._read(request, "detail", "application/json")

    async def thumbnail(self, request: Request) -> Response:
        return await self._read(request, "thumbnail", "image/jpeg")

    async def images(self, request: Request) -> Response:
        query = request.query_params
        try:
            first, count = int(query.get("first", "0")), int(query.get("count", "50"))
        except ValueError as error:
            return PlainTextResponse(str(error), 404)
        return await self._read(request, "images", "application/octet-stream", query.get("camera", ""), first, count)

    async def _read(self, request: Request, what: str, media_type: str, *arguments: Any) -> Response:
        try:
            found = await self._episodes.read(what, request.query_params.get("episode", ""), *arguments)
        except (EpisodesError, ValueError) as error:
            return PlainTextResponse(str(error), 404)
        return Response(found, media_type=media_type)

    async def change(self, request: Request) -> Response:
        if _role(request.scope, self._access) is not Role.DRIVE:
            return PlainTextResponse("Spectators change nothing.", 403)
        try:
            wanted = json.loads(await _body(request))
            text = await self._episodes.change(str(wanted["episode"]), str(wanted["what"]))
        except (ValueError, KeyError, TypeError):
            return PlainTextResponse('Expected {"episode": ..., "what": ...}.', 400)
        except EpisodesError as error:
            return JSONResponse({"success": False, "message": str(error)})
        return JSONResponse({"success": True, "message": text})


# --- sockets ---


class LiveSocket:
    """Ten times a second what there is to show; and what the page asks for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asking: set[asyncio.Task[None]] = set()

    async def serve(self, socket: WebSocket) -> None:
        """One page, until it goes."""
        controls = self._parts.controls
        if controls.pages >= MOST_PAGES:
            await socket.close(_TRY_LATER, f"{MOST_PAGES} pages are open")
            return
        await socket.accept()
        role = _role(socket.scope, self._parts.access)
        page = controls.enter(_address(socket.scope), may_drive=role is Role.DRIVE)
        sending = asyncio.create_task(self._send(socket, page))
        try:
            await self._receive(socket, page)
        finally:
            await _ended(sending)
            controls.leave(page)

    async def _send(self, socket: WebSocket, page: Page) -> None:
        revision = -1
        while True:
            text = self._parts.live.snapshot(self._parts.controls, page, revision)
            revision = self._parts.live.revision
            await socket.send_text(text)
            await asyncio.sleep(LIVE_PERIOD_S)

    async def _receive(self, socket: WebSocket, page: Page) -> None:
        budget, since = 0.0, asyncio.get_running_loop().time()
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                text = await socket.receive_text()
                now = asyncio.get_running_loop().time()
                budget, since = max(0.0, budget - (now - since) * _MOST_MESSAGES_PER_S) + 1, now
                if budget > _MOST_MESSAGES_PER_S:
                    await socket.close(_POLICY_VIOLATION, "too many messages")
                    return
                await self._handle(socket, page, text)

    async def _handle(self, socket: WebSocket, page: Page, text: str) -> None:
        parts = self._parts
        try:
            message = json.loads(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError):
            await socket.close(_POLICY_VIOLATION, "expected JSON with a type")
            return
        if kind == "alive":
            parts.controls.heard(page, parts.live.now_ns())
        elif kind == "stop":
            parts.session.stop(page.name)
        elif kind == "take":
            parts.controls.take(page, parts.live.now_ns())
        elif kind == "release":
            parts.controls.release(page)
        elif kind == "ask":
            # In a task of its own: a stop must never wait for an answer.
            task = asyncio.create_task(self._ask(socket, page, str(message.get("request", ""))))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)
        else:
            await socket.close(_POLICY_VIOLATION, "unknown type")

    async def _ask(self, socket: WebSocket, page: Page, request: str) -> None:
        parts = self._parts
        if parts.controls.is_driving(page):
            success, answer = await parts.session.ask(request, page.name)
        else:
            driver = parts.controls.driver
            success, answer = False, f"{driver.name} drives" if driver else "Take the controls first"
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # the page may be gone by now
            await socket.send_text(
                json.dumps({"type": "answer", "request": request, "success": success, "message": answer})
            )


async def _serve_images(frames: Frames, socket: WebSocket) -> None:
    await socket.accept()
    window = Window()
    frames.watchers += 1
    sending = asyncio.create_task(_send_images(socket, frames, window))
    try:
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                await socket.receive_text()
                window.acknowledge()
    finally:
        frames.watchers -= 1
        await _ended(sending)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end; its page is gone."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
        await task


async def _send_images(socket: WebSocket, frames: Frames, window: Window) -> None:
    known: Any = frames.nothing()
    while True:
        await window.acquire()
        known, content = await frames.newer(known)
        await socket.send_bytes(content)
