# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "h1_recorder"

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
    description="Journal, episode file, and the tools for them.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "recorder = h1_recorder.recorder.recorder_node:main",
            "episodes = h1_recorder.__main__:main",
        ],
    },
)
