# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "h1_policy_bridge"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    package_data={package_name: ["py.typed"]},
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="H1-2 training session developers",
    description="The policy: openpi's wire protocol, observations, action chunks.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "policy_bridge = h1_policy_bridge.policy_bridge_node:main",
            "policy_check = h1_policy_bridge.policy_check:main",
            "policy_preview = h1_policy_bridge.policy_preview_node:main",
            "policy_server = h1_policy_bridge.training_server.main:main",
        ],
    },
)
