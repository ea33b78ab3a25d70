# SPDX-License-Identifier: Apache-2.0
"""The page's process: rclpy in one thread, the page's event loop in the main one. See `application.py`.

Nothing of the session waits for it: it subscribes with depth 1, and what it asks for goes through the same services as
every key. Camera topics are subscribed only while a page looks.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String
from std_srvs.srv import Trigger

from h1_session_manager.parameters import WebParameters
from h1_session_manager.states import SERVICES
from h1_session_manager.table import EMERGENCY
from h1_session_manager.web import web_messages_node
from h1_session_manager.web.access import Access
from h1_session_manager.web.application import Parts, application
from h1_session_manager.web.controls import Controls
from h1_session_manager.web.episodes import Episodes
from h1_session_manager.web.frames import CdrError, Frames, jpeg_of
from h1_session_manager.web.live import Live
from h1_session_manager.web.server import Server, listening
from h1_training_msgs.msg import Event
from h1_training_node import qos
from h1_training_node.base_node import BaseNode
from h1_training_node.clock import NS_PER_S
from h1_training_node.page_tokens import Tokens, page_link
from h1_training_node.parameter import ParameterError
from h1_training_node.process import StopSignal, take_priority
from h1_training_node.spinner import spun

_SPIN_S = 0.1
_ASK_S = 5.0
_HOUSEKEEPING_S = 0.1
_EXIT_USAGE = 2


class WebNode(BaseNode):
    """Hands what it hears to the event loop, and asks the session.

    Args:
        loop: the page's event loop, in another thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("web")
        self.settings = self.parameters(WebParameters)
        self._loop = loop
        cameras = self.settings.camera_topics
        self.live = Live(self.now_ns, tuple(cameras))
        self.frames = Frames(tuple(cameras))
        self.controls = Controls(int(self.settings.lost_after_s * NS_PER_S))
        self._cameras: list[Any] = []
        self._requests = {name: self.create_client(Trigger, f"session_manager/{name}") for name in SERVICES}
        self._stop = self.create_publisher(String, "emergency_stop", qos.STATE)
        self._newest: dict[str, bytes] = {}
        for topic, name, kind, _ in web_messages_node.TOPICS:
            profile = qos.LATCHED if name in web_messages_node.LATCHED else qos.LATEST
            self.create_subscription(kind, topic, partial(self._newest.__setitem__, name), profile, raw=True)
        self.create_subscription(Event, "session/event", self._on_event, qos.STATE)
        self.create_subscription(String, "session/lines", self._on_lines, qos.LATCHED)
        self.every(_HOUSEKEEPING_S, self._convert)
        self.every(_HOUSEKEEPING_S, self._look_after_cameras)

    # --- from the graph's thread to the event loop's ---

    def _later(self, work: Callable[..., object], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(work, *arguments)

    def _convert(self) -> None:
        """Of each topic the newest message: a page shows ten a second, the graph has many more."""
        newest = dict(self._newest)
        self._newest.clear()
        for _, name, kind, convert in web_messages_node.TOPICS:
            if name in newest:
                self._later(self.live.hear, name, convert(deserialize_message(newest[name], kind)))

    def _on_event(self, message: Event) -> None:
        self._later(self.live.add_event, web_messages_node.event(message))

    def _on_lines(self, message: String) -> None:
        self._later(self.live.add_lines, message.data.splitlines())

    def _on_image(self, camera: int, cdr: bytes) -> None:
        try:
            stamp_ns, jpeg = jpeg_of(cdr)
        except CdrError as error:
            self.get_logger().error(f"{self.frames.cameras[camera]}: {error}", throttle_duration_sec=1.0)
            return
        self._later(self.frames.put, camera, stamp_ns, jpeg)

    def _look_after_cameras(self) -> None:
        """Nobody looks: nothing is received."""
        if bool(self.frames.watchers) == bool(self._cameras):
            return
        if self._cameras:
            for subscription in self._cameras:
                self.destroy_subscription(subscription)
            self._cameras.clear()
            return
        for camera, topic in enumerate(self.settings.camera_topics.values()):
            on_image = partial(self._on_image, camera)
            self._cameras.append(self.create_subscription(CompressedImage, topic, on_image, qos.LATEST, raw=True))

    # --- from the event loop ---

    def stop(self, who: str) -> None:
        """Publish an emergency stop at once: publishing is safe in any thread."""
        self._stop.publish(String(data=f"{who}: STOP on the page"))

    async def ask(self, request: str, who: str) -> tuple[bool, str]:
        """The session's own answer to `session_manager/<request>`."""
        if request == EMERGENCY:
            self.stop(who)
            return True, "emergency stop"
        client = self._requests.get(request)
        if client is None:
            return False, f"there is no request '{request[:40]}'"
        if not client.service_is_ready():
            return False, "the session manager is not there"
        answered: asyncio.Future[Trigger.Response | None] = self._loop.create_future()

        def on_reply(future: Any) -> None:
            self._later(_resolve, answered, future.result())

        client.call_async(Trigger.Request()).add_done_callback(on_reply)
        try:
            response = await asyncio.wait_for(answered, _ASK_S)
        except TimeoutError:
            return False, f"the session manager did not answer within {_ASK_S:.0f} s"
        if response is None:
            return False, "the session manager gave no answer"
        return response.success, response.message

    async def watch_driver(self) -> None:
        """Report a driving page that fell silent; in EXECUTING, stop the policy if that is wanted."""
        while True:
            await asyncio.sleep(_HOUSEKEEPING_S)
            page = self.controls.lost(self.now_ns())
            if page is None:
                continue
            stops = self.settings.on_lost == "stop" and self.live.state == "EXECUTING"
            consequence = "the policy is stopped" if stops else "nobody drives from a page now; the session goes on"
            self.event(Event.WARN, "page_lost", f"{page.name}, which drove, is silent: {consequence}")
            if stops:
                await self.ask("stop", page.name)


def _resolve(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


class Page:
    """The node and its server.

    Raises:
        ParameterError: something that was set cannot be used; names the node and the parameter.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.node = WebNode(loop)
        settings, owner = self.node.settings, self.node.get_fully_qualified_name()
        try:
            self._tokens = Tokens.from_file(_path(settings.token_file)) if settings.token_file else Tokens.new()
            self._certificate = _certificate(settings)
            self._socket = listening(settings.address, settings.port)
        except (OSError, ValueError) as error:
            self.node.destroy_node()
            raise ParameterError(f"{owner}: {error}") from None
        self.episodes = Episodes(Path(settings.save_dir).absolute(), settings.rsync_target)
        hosts = frozenset({socket.gethostname().lower(), *(name.lower() for name in settings.allowed_hosts if name)})
        parts = Parts(
            access=Access(self._tokens, hosts),
            controls=self.node.controls,
            live=self.node.live,
            frames=self.node.frames,
            episodes=self.episodes,
            session=self.node,
            is_tls=self._certificate is not None,
        )
        self.server = Server(application(parts), self._certificate)

    def link(self, *, looking: bool = False) -> str:
        """The page's address with a token."""
        token = self._tokens.look if looking else self._tokens.drive
        address, port = self._socket.getsockname()[:2]
        return page_link(address, port, token, is_tls=self._certificate is not None)

    async def serve(self, is_over: Callable[[], bool]) -> None:
        """Until `is_over`."""
        watching = asyncio.create_task(self.node.watch_driver())
        serving = asyncio.create_task(self.server.serve([self._socket]))
        while not is_over() and not serving.done():
            await asyncio.sleep(_SPIN_S)
        self.server.should_exit = True
        await serving
        watching.cancel()
        await self.episodes.close()


def _certificate(settings: WebParameters) -> tuple[Path, Path] | None:
    """Files of certificate and private key, which can be read and belong together; None without."""
    if not settings.certificate_file:
        return None
    files = _path(settings.certificate_file), _path(settings.private_key_file)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*files)
    except ssl.SSLError as error:
        raise ValueError(f"{files[0]} and {files[1]} are no certificate with its private key: {error.reason}") from None
    return files


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def main() -> int:
    """Serve the page until the session ends."""
    stop = StopSignal(late=True)
    if not stop.end_with_parent():
        return 1
    take_priority()
    rclpy.init(args=sys.argv, signal_handler_options=SignalHandlerOptions.NO)
    try:
        return asyncio.run(_run(stop))
    finally:
        rclpy.try_shutdown()


async def _run(stop: StopSignal) -> int:
    try:
        page = Page(asyncio.get_running_loop())
    except ParameterError as error:
        print(f"[ERROR] {error}", file=sys.stderr, flush=True)
        return _EXIT_USAGE
    if sys.stdout.isatty():
        print(f"Page: {page.link()}\nOnly to look: {page.link(looking=True)}", flush=True)
    with spun(page.node) as thread:
        await page.serve(lambda: stop.received is not None or not thread.is_alive())
        return int(not thread.is_alive())  # it is started again, with what went wrong in its log
