"""The strategies that there are, by the name that the parameter `strategy` gives them."""

from __future__ import annotations

from collections.abc import Callable

from h1_policy_bridge.blend import Blend
from h1_policy_bridge.open_loop import OpenLoop
from h1_policy_bridge.strategy import Strategy, StrategyConfig

STRATEGIES: dict[str, Callable[[StrategyConfig], Strategy]] = {"blend": Blend, "open_loop": OpenLoop}
