# SPDX-License-Identifier: Apache-2.0
from glob import glob

from setuptools import find_packages, setup

package_name = "h1_training_bringup"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
        ("share/" + package_name + "/config", glob("config/*")),
        ("share/" + package_name + "/launch", glob("launch/*.launch.py")),
        ("share/" + package_name + "/rviz", glob("rviz/*")),
        ("share/" + package_name + "/rqt", glob("rqt/*")),
        ("share/" + package_name + "/foxglove", glob("foxglove/*")),
        ("share/" + package_name + "/security", glob("security/*")),
        ("share/" + package_name + "/urdf", glob("urdf/*")),
    ],
    package_data={package_name: ["py.typed"]},
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="H1-2 training session developers",
    description="Starts the session: launch and configuration, the robot's own drivers, the simulation.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "arm_driver = h1_training_bringup.arm_driver.arm_driver_node:main",
            "arm_guard = h1_training_bringup.arm_driver.arm_guard_node:main",
            "head_camera = h1_training_bringup.head_camera.head_camera_node:main",
            "state_marker = h1_training_bringup.session.state_marker_node:main",
            "run_session = h1_training_bringup.session.runner:main",
            "sim_robot = h1_training_bringup.sim.robot_node:main",
            "sim_cameras = h1_training_bringup.sim.cameras_node:main",
            "sim_hands = h1_training_bringup.sim.hands:main",
            "learn = h1_training_bringup.sim.learn:main",
            "sim_operator = h1_training_bringup.sim.operator_node:main",
        ],
    },
)
