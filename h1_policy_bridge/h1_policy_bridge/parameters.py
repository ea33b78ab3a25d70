# SPDX-License-Identifier: Apache-2.0
"""The policy bridge's parameters, checked, and the parts that are made from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from h1_policy_bridge.chunk import Expectation
from h1_policy_bridge.connection import ServerAddress
from h1_policy_bridge.layout import PRESETS, LayoutError, ObservationLayout, parse_layout
from h1_policy_bridge.metadata import ServerFacts
from h1_policy_bridge.msgpack_numpy import MAX_BYTES
from h1_policy_bridge.observation import ObservationRules
from h1_policy_bridge.policy_client import ClientConfig
from h1_policy_bridge.protocols import PROTOCOLS
from h1_policy_bridge.protocols.link import LinkConfig
from h1_policy_bridge.strategies import STRATEGIES, TICKS_PER_S, Strategy, StrategyConfig
from h1_training_node.cameras import CAMERAS, LATE_NS
from h1_training_node.clock import NS_PER_S
from h1_training_node.forms import check_path, check_server
from h1_training_node.parameter import parameter
from h1_training_node.server_access import API_KEY_VARIABLE, read_api_key, tls_context

_ACTION_DIMS = (14, 26)
_STRATEGY_NAMES = ("auto", *STRATEGIES)

_LEROBOT = (
    "its gRPC service carries Python pickles in both directions, which can run any code (CVE-2026-25874), so it is not "
    "supported here; serve the same policy by lerobot_policy_server (docs/policy_server.md) and set 'openpi'"
)


@dataclass(frozen=True)
class BridgeParameters:
    """Parameters of the node; each says itself what it is."""

    host: str = parameter("127.0.0.1", "policy server's host, or its whole ws:// or wss:// URL", check=check_server)
    port: int = parameter(8000, "policy server's port; 0 if the URL says it", low=0, high=65535)
    api_key_file: str = parameter(
        "", f"file that holds the API key; empty: the variable {API_KEY_VARIABLE}, if set", check=check_path
    )
    ca_file: str = parameter(
        "", "PEM file of the authority of a wss:// server's certificate, beside the system's", check=check_path
    )
    action_dim: int = parameter(14, "values per action: 14 arms, 26 arms and hands", low=14, high=26)
    protocol: str = parameter(
        "openpi", "the policy server's protocol: docs/policy_server.md", choices=(*PROTOCOLS, "lerobot")
    )
    horizon: int = parameter(0, "actions per chunk that the server must give; 0 takes any", low=0, high=2000)
    preset: str = parameter("h1", "names and axes of the observation", choices=tuple(PRESETS))
    observation_mapping: str = parameter("", "YAML mapping, which goes before the preset: docs/policy_server.md")
    prompt: str = parameter("{task}, Advantage=True", "prompt; {task} stands for the session's task")
    image_size_px: int = parameter(224, "side of the square images", unit="pixel", low=16, high=1024)
    resize: str = parameter("stretch", "how an image becomes a square", choices=("stretch", "pad"))
    max_observation_age_s: float = parameter(
        LATE_NS / NS_PER_S, "an observation with an older part is not sent", unit="s", low=0.02
    )
    image_encoding: str = parameter(
        "auto", "images as pixels or JPEG; auto: what the metadata allow", choices=("auto", "raw", "jpeg")
    )
    allow_dummy_cameras: bool = parameter(False, "grey stands in for a missing or stale camera")
    hand_unit: str = parameter("unit", "hands on the wire: 0..1, or 0..1000", choices=("unit", "register"))
    hand_state: str = parameter("measured", "hands in the state", choices=("measured", "commanded"))
    max_first_action_distance_rad: float = parameter(
        1.0, "READY refuses a policy whose first action is further from the pose", unit="rad", low=0.05, high=6.3
    )
    done_field: str = parameter("done", "flag by which a reply says that the task is over")
    strategy: str = parameter(
        "auto", "how chunks become a stream; auto: rtc where the metadata say so, else blend", choices=_STRATEGY_NAMES
    )
    rtc_remainder_field: str = parameter("prev_action_chunk", "under which name rtc sends what is planned; empty: not")
    rtc_delay_field: str = parameter("inference_delay", "under which name rtc sends the delay in ticks; empty: not")
    blend_window_s: float = parameter(0.2, "fade from chunk to chunk; 0 switches at once", unit="s", low=0.0, high=2.0)
    blend_execute_s: float = parameter(
        0.5, "how much of a chunk is played before the next", unit="s", low=0.0, high=10.0
    )
    blend_coast_s: float = parameter(0.2, "how long to bridge a late answer, slowing down", unit="s", low=0.0, high=1.0)
    open_loop_execute_s: float = parameter(
        0.0, "how much of a chunk open_loop plays; 0 plays it whole", unit="s", low=0.0, high=10.0
    )
    open_loop_hold_s: float = parameter(1.0, "how long open_loop repeats the last step", unit="s", low=0.0, high=1.0)
    connect_timeout_s: float = parameter(3.0, "until TCP is connected", unit="s", low=0.1, high=60.0)
    handshake_timeout_s: float = parameter(10.0, "from there until the metadata is read", unit="s", low=0.1, high=600.0)
    first_request_timeout_s: float = parameter(
        60.0, "for a connection's first inference: a server may compile then", unit="s", low=0.1, high=600.0
    )
    request_timeout_s: float = parameter(5.0, "for every later inference", unit="s", low=0.1, high=600.0)
    backoff_max_s: float = parameter(5.0, "longest pause between two attempts to connect", unit="s", low=0.1, high=60.0)
    ping_interval_s: float = parameter(
        20.0, "between two pings while nothing is asked; keeps proxies from closing", unit="s", low=1.0, high=600.0
    )
    max_reply_bytes: int = parameter(MAX_BYTES, "largest message accepted", unit="B", low=1024, high=1 << 28)

    def __post_init__(self) -> None:
        if self.action_dim not in _ACTION_DIMS:
            raise ValueError(f"parameter 'action_dim' is {self.action_dim}; expected 14 (arms) or 26 (arms and hands)")
        if not self.host:
            raise ValueError("parameter 'host' is empty; name the policy server")
        if self.protocol == "lerobot":
            raise ValueError(f"parameter 'protocol' is 'lerobot': {_LEROBOT}")
        needed = max((part.end or 0 for part in self.layout().state), default=0)
        if self.observation_mapping and needed > self.action_dim:
            raise ValueError(
                f"parameter 'observation_mapping' sends {needed} values of the state, which has {self.action_dim} "
                "('action_dim'); shorten the range, or configure the hands"
            )
        if unknown := sorted(set(self.layout().cameras) - set(CAMERAS)):
            raise ValueError(
                f"parameter 'observation_mapping': unknown camera '{unknown[0]}'; known are {', '.join(CAMERAS)}"
            )
        try:
            self._address().check()
        except ValueError as error:
            raise ValueError(f"parameter 'host' is '{self.host}': {error}") from None

    @property
    def with_hands(self) -> bool:
        """Whether the policy has the hands."""
        return self.action_dim == _ACTION_DIMS[1]

    def _address(self) -> ServerAddress:
        return ServerAddress(self.host, self.port, PROTOCOLS[self.protocol].scheme)

    def layout(self) -> ObservationLayout:
        """The observation's layout: the mapping if there is one, else the preset.

        Raises:
            ValueError: the mapping cannot be used.
        """
        if not self.observation_mapping:
            return PRESETS[self.preset]
        try:
            return parse_layout(self.observation_mapping)
        except LayoutError as error:
            raise ValueError(f"parameter 'observation_mapping': {error}") from None

    def observation_rules(self) -> ObservationRules:
        """How observations are made."""
        return ObservationRules(
            layout=self.layout(),
            prompt=self.prompt,
            max_age_ns=round(self.max_observation_age_s * NS_PER_S),
            image_size=self.image_size_px,
            keep_proportions=self.resize == "pad",
            with_hands=self.with_hands,
            hand_unit=self.hand_unit,
            allow_dummy_cameras=self.allow_dummy_cameras,
            image_encoding=self.image_encoding,
            remainder_field=self.rtc_remainder_field,
            delay_field=self.rtc_delay_field,
        )

    def make_strategy(self, facts: ServerFacts) -> Strategy:
        """A new strategy, as configured, for a server that says this of itself."""
        automatic = "rtc" if facts.takes_remainder else "blend"
        return STRATEGIES[automatic if self.strategy == "auto" else self.strategy](self.strategy_config())

    def strategy_config(self) -> StrategyConfig:
        """What the strategy is tuned by, in ticks."""
        return StrategyConfig(
            window_ticks=round(self.blend_window_s * TICKS_PER_S),
            execute_ticks=round(self.blend_execute_s * TICKS_PER_S),
            coast_ticks=round(self.blend_coast_s * TICKS_PER_S),
            play_ticks=round(self.open_loop_execute_s * TICKS_PER_S),
            hold_ticks=round(self.open_loop_hold_s * TICKS_PER_S),
        )

    def client_config(self, environ: Mapping[str, str] | None = None) -> ClientConfig:
        """How to reach the server, with the API key from file or environment.

        Raises:
            ValueError: the file of the key, or of the authority, cannot be used.
        """
        tls_context(self.ca_file)
        return ClientConfig(
            link=LinkConfig(
                address=self._address(),
                connect_timeout_s=self.connect_timeout_s,
                handshake_timeout_s=self.handshake_timeout_s,
                ping_interval_s=self.ping_interval_s,
                # A server answers no ping while it infers, be it for another client and for the first time.
                silence_s=self.first_request_timeout_s + self.ping_interval_s,
                max_reply_bytes=self.max_reply_bytes,
                api_key=read_api_key(self.api_key_file, environ),
                ca_file=self.ca_file,
            ),
            protocol=self.protocol,
            expected=Expectation(self.action_dim, self.horizon, self.hand_unit, self.done_field, self.layout()),
            first_request_timeout_s=self.first_request_timeout_s,
            request_timeout_s=self.request_timeout_s,
            backoff_high_s=self.backoff_max_s,
        )
