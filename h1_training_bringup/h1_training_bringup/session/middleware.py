# SPDX-License-Identifier: Apache-2.0
"""The environment that the graph's processes get: the robot's network for a robot, this machine alone for a simulation.

What a person has exported is obeyed, replaced with a word, or refused in one line; never a reason for a node to die
with an error about something else.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ament_index_python import get_resources
from ament_index_python.packages import get_package_share_directory

from h1_training_bringup.session.configuration import ConfigurationError

RMW_VARIABLE, CYCLONE, CYCLONE_VARIABLE = "RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp", "CYCLONEDDS_URI"
INTERFACES = Path("/sys/class/net")
DOMAIN_VARIABLE, LAST_DOMAIN = "ROS_DOMAIN_ID", 232
LOCAL_VARIABLE, RANGE_VARIABLE = "ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE"
_LOGGING = {
    "RCUTILS_COLORIZED_OUTPUT": "0",
    "RCUTILS_CONSOLE_OUTPUT_FORMAT": "[{severity}] [{time}] [{name}]: {message}",
    "RCUTILS_LOGGING_USE_STDOUT": "0",
}
"""The operator's warnings are found in what the nodes log: by the first word of a line of standard error."""


def logging_variables(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """How every process logs, and a line for each variable of a person's own that gives way to it."""
    other = [name for name, value in _LOGGING.items() if environ.get(name, value) != value]
    return dict(_LOGGING), [f"! {name}={environ[name]} is replaced: nodes log in one form" for name in other]


def middleware_variables(
    environ: Mapping[str, str], installed: Collection[str], *, simulated: bool
) -> tuple[dict[str, str], list[str]]:
    """Which middleware, if the one that the environment names is not there, and a line that says so.

    Args:
        environ: of this process.
        installed: the middlewares of this machine.
        simulated: a simulation runs on any of them; a robot has one of its own, and works with no other.

    Raises:
        ConfigurationError: for a robot, it is not installed.
    """
    wanted = environ.get(RMW_VARIABLE, "")
    if not wanted or wanted in installed:
        return {}, []
    there = ", ".join(sorted(installed)) or "none"
    if not simulated or not installed:
        raise ConfigurationError(
            f"{RMW_VARIABLE} is {wanted}, which is not installed here (there is {there}): install it, or unset the "
            "variable"
        )
    chosen = "rmw_fastrtps_cpp" if "rmw_fastrtps_cpp" in installed else min(installed)
    line = f"! {RMW_VARIABLE}={wanted} is not installed here; this simulation uses {chosen}, as commands beside it must"
    return {RMW_VARIABLE: chosen}, [line]


def installed_middlewares() -> frozenset[str]:
    """The middlewares that ROS can load here."""
    return frozenset(get_resources("rmw_typesupport")) - {"rmw_implementation"}


def check_domain(environ: Mapping[str, str]) -> None:
    """Refuse a domain id that rcl would refuse in every node.

    Raises:
        ConfigurationError: it is none.
    """
    text = environ.get(DOMAIN_VARIABLE, "")
    if text and not (text.isdecimal() and int(text) <= LAST_DOMAIN):
        raise ConfigurationError(f"{DOMAIN_VARIABLE} is '{text}'; expected a whole number from 0 to {LAST_DOMAIN}")


def reach_notice(environ: Mapping[str, str]) -> str:
    """A line if the environment keeps ROS on this machine, where no robot is; empty if it does not."""
    for name, values in ((LOCAL_VARIABLE, ("1",)), (RANGE_VARIABLE, ("LOCALHOST", "OFF"))):
        if environ.get(name, "").upper() in values:
            return f"! {name}={environ[name]} keeps ROS on this machine: a robot on the network is not found; unset it"
    return ""


def graph_variables(
    environ: Mapping[str, str], interface: str, domain_id: int | None
) -> tuple[dict[str, str], list[str]]:
    """Everything of the environment that is set for the graph's processes, and the lines that a person sees of it.

    Args:
        environ: of this process.
        interface: `robot.network_interface`.
        domain_id: of the simulation; None: a robot's session.

    Raises:
        ConfigurationError: something inherited can be neither obeyed nor replaced.
    """
    simulated = domain_id is not None
    logging, lines = logging_variables(environ)
    middleware, replaced = middleware_variables(environ, installed_middlewares(), simulated=simulated)
    lines += replaced
    if domain_id is not None:
        lines.append(f"Simulation: {DOMAIN_VARIABLE}={domain_id} {RANGE_VARIABLE}=LOCALHOST")
        return logging | middleware | simulation_variables(domain_id), lines
    check_domain(environ)
    network = robot_variables(interface, environ)
    lines += filter(None, (robot_notice(interface, environ, network), reach_notice(environ)))
    return logging | middleware | network, lines


def simulation_variables(domain_id: int) -> dict[str, str]:
    """What keeps a simulation away from every robot and from the network.

    A domain of its own, discovery on this machine only, no peers elsewhere, and no socket of Fast DDS that another
    machine reaches. A CycloneDDS configuration that names the robot's interface would go over that, and so would a
    discovery server: both are unset.
    """
    profile = str(Path(get_package_share_directory("h1_training_bringup")) / "security/this_machine_only.xml")
    return {
        DOMAIN_VARIABLE: str(domain_id),
        RANGE_VARIABLE: "LOCALHOST",
        LOCAL_VARIABLE: "",  # goes before the range where it is 1, and is warned of where it is 0
        "ROS_STATIC_PEERS": "",
        "ROS_DISCOVERY_SERVER": "",
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,  # its name from Fast DDS 3 on
        CYCLONE_VARIABLE: "",
    }


def robot_variables(interface: str, environ: Mapping[str, str], interfaces: Path = INTERFACES) -> dict[str, str]:
    """What binds CycloneDDS, if that is the middleware, to the interface that the robot is on.

    Form: `unitreerobotics/unitree_ros2:setup.sh`. A CYCLONEDDS_URI of the person's own is left alone.

    Args:
        interface: `robot.network_interface`.
        environ: of this process.
        interfaces: folder that has an entry for each of this machine's.

    Raises:
        ConfigurationError: this machine has no such interface.
    """
    chosen = f'<NetworkInterface name={quoteattr(interface)} priority="default" multicast="default"/>'
    uri = f"<CycloneDDS><Domain><General><Interfaces>{chosen}</Interfaces></General></Domain></CycloneDDS>"
    if environ.get(RMW_VARIABLE) != CYCLONE or environ.get(CYCLONE_VARIABLE) not in (None, "", uri):
        return {}
    there = sorted(path.name for path in interfaces.iterdir()) if interfaces.is_dir() else []
    if interface not in there:
        raise ConfigurationError(
            f"'robot.network_interface' is '{interface}', which this machine does not have; it has {', '.join(there)}"
        )
    return {CYCLONE_VARIABLE: uri}


def robot_notice(interface: str, environ: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """A line on the network for the person at the start; empty if there is nothing to say.

    A session binds only its own processes to the interface: a command in another terminal needs the same variable.

    Args:
        interface: `robot.network_interface`.
        environ: of this process.
        variables: what `robot_variables` made of the two.
    """
    if (middleware := environ.get(RMW_VARIABLE, "")) != CYCLONE:
        return (
            f"! 'robot.network_interface' ({interface}) has no effect, because {RMW_VARIABLE} is "
            f"{middleware or 'not set'}: export {RMW_VARIABLE}={CYCLONE}"
        )
    exported = environ.get(CYCLONE_VARIABLE, "")
    if variables:
        line = f"For commands in another terminal: export {CYCLONE_VARIABLE}={shlex.quote(variables[CYCLONE_VARIABLE])}"
        return "" if exported else line
    if f"name={quoteattr(interface)}" not in exported:
        return f"! 'robot.network_interface' ({interface}) has no effect: {CYCLONE_VARIABLE} goes before it"
    return ""
