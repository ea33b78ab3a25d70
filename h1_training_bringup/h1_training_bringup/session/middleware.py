"""Which network the graph speaks on: the robot's interface for a robot, this machine alone for a simulation."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ament_index_python.packages import get_package_share_directory

from h1_training_bringup.session.configuration import ConfigurationError

RMW_VARIABLE, CYCLONE, CYCLONE_VARIABLE = "RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp", "CYCLONEDDS_URI"
INTERFACES = Path("/sys/class/net")


def simulation_variables(domain_id: int) -> dict[str, str]:
    """What keeps a simulation away from every robot and from the network.

    A domain of its own, discovery on this machine only, no peers elsewhere, and no socket of Fast DDS at which another
    machine would be heard. A CycloneDDS configuration that names the robot's interface would go over that, and is
    taken away.
    """
    profile = str(Path(get_package_share_directory("h1_training_bringup")) / "security/this_machine_only.xml")
    return {
        "ROS_DOMAIN_ID": str(domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_STATIC_PEERS": "",
        "FASTRTPS_DEFAULT_PROFILES_FILE": profile,
        "FASTDDS_DEFAULT_PROFILES_FILE": profile,  # its name from Fast DDS 3 on
        CYCLONE_VARIABLE: "",
    }


def robot_variables(interface: str, environ: Mapping[str, str], interfaces: Path = INTERFACES) -> dict[str, str]:
    """What leads CycloneDDS, if that is the middleware, to the interface that the robot is on.

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
    """What the person at the start is told of the network, one line; empty if there is nothing to tell.

    A session leads only its own processes to the interface: a command in another terminal needs the same variable.

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
