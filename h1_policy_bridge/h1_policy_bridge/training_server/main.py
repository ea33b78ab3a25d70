# SPDX-License-Identifier: Apache-2.0
"""`policy_server`: serves a policy, and trains it on what is uploaded.

policy_server --trainer small --watch-dir data/uploaded
policy_server --trainer command --settings my_training.yaml --watch-dir /data/h1 --host 0.0.0.0
policy_server --checkpoints data/uploaded/checkpoints --rollback 0003-5b1f09aa
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import ssl
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from h1_policy_bridge.training_server.lifecycle import LifeCycle, LifeParameters
from h1_policy_bridge.training_server.policy import ARM_JOINTS, HORIZON, TrainingError
from h1_policy_bridge.training_server.server import PolicyServer, ServeParameters
from h1_policy_bridge.training_server.store import Store, StoreError
from h1_policy_bridge.training_server.training import make_trainer
from h1_policy_bridge.training_server.uploads import Uploads
from h1_training_node.parameter import ParameterError, from_values
from h1_training_node.process import PARENT_VARIABLE, StopSignal, take_priority
from h1_training_node.server_access import API_KEY_VARIABLE, key_file_warning, read_api_key

_USAGE = 2


def main() -> int:
    """Entry point of the executable `policy_server`."""
    stop = StopSignal(late=PARENT_VARIABLE in os.environ)  # a session's peer ends last; by itself it heeds Ctrl+C
    if not stop.end_with_parent():
        return 1
    take_priority()
    logging.basicConfig(level=logging.INFO, format="[policy server] %(message)s", stream=sys.stdout, force=True)
    logging.getLogger("websockets").setLevel(logging.ERROR)
    try:
        options = parse(sys.argv[1:])
        if options.rollback:
            served = Store(_checkpoints(options)).rollback(options.rollback)
            print(f"epoch {served.epoch}: checkpoint {served.checkpoint} serves from now on")
            return 0
        with ExitStack() as stack:
            run(options, stop, stack)
    except (ParameterError, StoreError, TrainingError, ValueError) as error:
        print(f"[ERROR] {error}", file=sys.stderr, flush=True)
        return _USAGE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"[ERROR] {where}{error.strerror or error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run(options: argparse.Namespace, stop: Any, stack: ExitStack) -> None:
    """Serve until `stop` says so.

    Raises:
        ParameterError: a setting that cannot be used.
        StoreError: the checkpoints cannot be used.
        TrainingError: what served last cannot be loaded.
        OSError: the port is taken.
    """
    settings = _settings(options.settings, options.set)
    trainer = make_trainer(options.trainer, settings)
    folder = _checkpoints(options) if options.watch_dir or options.checkpoints else None
    store = Store(folder or Path(stack.enter_context(TemporaryDirectory(prefix="policy_server_"))))
    store.claim()
    life = LifeCycle(
        store,
        Uploads(options.watch_dir, checkpoints=store.folder) if options.watch_dir else None,
        trainer,
        (options.trainer, settings),
        _chosen(LifeParameters, options),
        first_epoch=options.first_epoch,
        ignore_present=options.from_now_on,
    )
    metadata = getattr(trainer, "metadata", lambda: {"action_dim": ARM_JOINTS, "action_horizon": HORIZON})()
    api_key = read_api_key(options.api_key_file)
    if warning := key_file_warning(options.api_key_file):
        logging.getLogger("policy_server").warning("%s", warning)
    server = PolicyServer(
        life,
        metadata,
        _chosen(ServeParameters, options),
        api_key=api_key,
        tls=_tls(options.cert_file, options.cert_key_file),
    )
    thread = threading.Thread(target=life.run, name="life_cycle", daemon=True)
    thread.start()
    try:
        asyncio.run(server.serve(stop))
    except OSError as error:
        raise OSError(error.errno, f"cannot listen on {options.host}:{options.port}: {error.strerror}") from None
    finally:
        life.end()
        thread.join(15.0)
        life.close()


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; whatever follows `--ros-args` is not for this process."""
    own = list(arguments)
    if "--ros-args" in own:
        own = own[: own.index("--ros-args")]
    parser = argparse.ArgumentParser(
        prog="policy_server", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trainer", default="small", help="small, command, scripted, or MODULE:CLASS (%(default)s)")
    parser.add_argument("--settings", type=Path, help="YAML file with the trainer's settings")
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="single settings of the trainer")
    parser.add_argument("--watch-dir", type=Path, help="upload folder; new episodes there are trained on")
    parser.add_argument("--checkpoints", type=Path, help="folder of checkpoints (WATCH_DIR/checkpoints)")
    parser.add_argument("--rollback", metavar="NAME", help="let this checkpoint serve under a new epoch, and end")
    parser.add_argument("--first-epoch", type=int, default=0, help="epoch at the very first start (%(default)s)")
    parser.add_argument("--from-now-on", action="store_true", help="at the very first start: what lies there is past")
    parser.add_argument(
        "--api-key-file", default="", help=f"key that clients must show; else {API_KEY_VARIABLE}, if set"
    )
    parser.add_argument("--cert-file", type=Path, help="PEM file of the server's certificate: wss instead of ws")
    parser.add_argument("--cert-key-file", type=Path, help="PEM file of its key, if it is not in the same file")
    for cls in (ServeParameters, LifeParameters):
        for one in fields(cls):
            default: Any = one.default
            unit = f", {one.metadata['unit']}" if one.metadata["unit"] else ""
            described = f"{one.metadata['description']} ({default}{unit})".replace("%", "%%")
            parser.add_argument(f"--{one.name.replace('_', '-')}", type=type(default), default=default, help=described)
    options = parser.parse_args(own)
    if options.rollback and not (options.watch_dir or options.checkpoints):
        parser.error("--rollback needs --checkpoints, or --watch-dir")
    for cls in (ServeParameters, LifeParameters):
        try:
            _chosen(cls, options)
        except ParameterError as error:
            parser.error(str(error))
    return options


def _chosen(cls: type[Any], options: argparse.Namespace) -> Any:
    return from_values(cls, {one.name: getattr(options, one.name) for one in fields(cls)})


def _checkpoints(options: argparse.Namespace) -> Path:
    folder: Path = options.checkpoints or options.watch_dir / "checkpoints"
    return folder


def _settings(path: Path | None, single: Sequence[str]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if path is not None:
        try:
            document = _parsed(path.read_text(encoding="utf-8"), f"--settings {path}")
        except (OSError, UnicodeDecodeError) as error:
            raise ParameterError(f"--settings {path}: {error}") from None
        if not isinstance(document, dict):
            raise ParameterError(f"--settings {path}: expected a mapping of the trainer's settings")
    for text in single:
        name, is_given, value = text.partition("=")
        if not is_given:
            raise ParameterError(f"--set {text}: expected NAME=VALUE")
        document[name] = _parsed(value, f"--set {text}")
    return document


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParameterError(f"{where}: {error}") from None


def _tls(cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext | None:
    if cert_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert_file, key_file)
    except OSError as error:
        raise ParameterError(f"--cert-file {cert_file}: {error}") from None
    return context


if __name__ == "__main__":
    sys.exit(main())
