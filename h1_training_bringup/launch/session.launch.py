"""Launch a training session: the graph of `h1_training_bringup.graph` as launch actions.

ros2 launch h1_training_bringup session.launch.py                    on the robot
ros2 launch h1_training_bringup session.launch.py sim:=true          against the simulation
"""

import time
from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit, OnShutdown
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node, PushRosNamespace

from h1_training_bringup import graph
from h1_training_bringup.closing_table import closing_table
from h1_training_bringup.runner import session_variables, simulation_variables
from h1_training_bringup.session_setup import SessionRequest, prepared
from h1_training_node.domain import DomainClaim
from h1_training_node.process import NICENESS_VARIABLE

ARGUMENTS = (
    ("config", "", "configuration file (default: training_config.yaml of this package; sim.yaml with sim:=true)"),
    ("sim", "false", "true: against the simulation, which can never move a robot"),
    (
        "operator",
        "",
        f"who presses the keys: {', '.join(graph.OPERATORS)} (default: keyboard; scripted with sim:=true)",
    ),
    ("namespace", "", "namespace of the session's own names, for several robots"),
    ("save_dir", "", "folder of the episodes (default: as configured)"),
    ("rsync_target", "", "where to upload (default: as configured)"),
)


def generate_launch_description() -> LaunchDescription:
    """The session's launch arguments and, once they are known, its processes."""
    declared = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=_actions)])


def _actions(context: LaunchContext) -> list[Action]:
    given = {name: context.launch_configurations[name] for name, _, _ in ARGUMENTS}
    request = SessionRequest(
        simulated=given["sim"].lower() == "true",
        operator=given["operator"] or None,
        config=Path(given["config"]).expanduser() if given["config"] else None,
        changes={
            key: given[name]
            for name, key in (("save_dir", "save_dir"), ("rsync_target", "rsync.target"))
            if given[name]
        },
    )
    configuration, session = prepared(request)
    started = time.time()
    variables = session_variables()
    if session.simulated:
        # Held for as long as the launch process lives: the description keeps it alive through the closure below.
        claim = DomainClaim()
        context.extend_globals({"h1_domain_claim": claim})
        variables |= simulation_variables(claim.domain_id)
    nodes = [(process, _node(process)) for process in graph.processes(configuration, session)]

    def show_table(*_: object) -> list[Action]:
        return [LogInfo(msg=closing_table(session.save_dir, started))]

    return [
        *(SetEnvironmentVariable(name, value) for name, value in variables.items()),
        PushRosNamespace(given["namespace"]),
        *(
            RegisterEventHandler(OnProcessExit(target_action=node, on_exit=_on_exit(process)))
            for process, node in nodes
        ),
        RegisterEventHandler(OnShutdown(on_shutdown=show_table)),
        *(node for _, node in nodes),
    ]


def _node(process: graph.Process) -> Node:
    output = {"stdout": "screen" if process.on_terminal else "log", "stderr": "log"}
    return Node(
        package=process.package,
        executable=process.executable,
        name=None if process.arguments else process.name,
        parameters=[dict(process.parameters)] if process.parameters else [],
        remappings=list(process.remappings),
        arguments=list(process.arguments),
        additional_env={NICENESS_VARIABLE: str(process.niceness)},
        output=output,
        output_format="{line}",
        respawn=process.respawn,
        respawn_delay=1.0,
        respawn_max_retries=3,
        # SIGINT goes out first; peers that end last bear it and get SIGTERM when the session's own nodes are gone.
        sigterm_timeout="13.0" if process.ends_last else str(process.stop_timeout_s),
        sigkill_timeout="2.0",
    )


def _on_exit(process: graph.Process):
    def actions(event: ProcessExited, context: LaunchContext) -> list[Action]:
        if context.is_shutdown or (process.executable == "sim_operator" and event.returncode == 0):
            return []
        if process.name == "session_manager" and event.returncode == 0:
            return [EmitEvent(event=Shutdown(reason="the session has ended"))]
        if not process.essential:
            return []
        # An exception is how a launch file makes `ros2 launch` end everything and exit with 1.
        raise RuntimeError(f"{process.name} was lost (exit status {event.returncode}); ending the session")

    return actions
