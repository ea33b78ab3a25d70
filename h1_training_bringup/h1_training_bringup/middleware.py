"""Which network the graph speaks on: the robot's interface for a robot, this machine alone for a simulation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

from ament_index_python.packages import get_package_share_directory

from h1_training_bringup.configuration import ConfigurationError

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
    if environ.get(RMW_VARIABLE) != CYCLONE or environ.get(CYCLONE_VARIABLE):
        return {}
    there = sorted(path.name for path in interfaces.iterdir()) if interfaces.is_dir() else []
    if interface not in there:
        raise ConfigurationError(
            f"'robot.network_interface' is '{interface}', which this machine does not have; it has {', '.join(there)}"
        )
    chosen = f'<NetworkInterface name={quoteattr(interface)} priority="default" multicast="default"/>'
    domain = f"<Domain><General><Interfaces>{chosen}</Interfaces></General></Domain>"
    return {CYCLONE_VARIABLE: f"<CycloneDDS>{domain}</CycloneDDS>"}
