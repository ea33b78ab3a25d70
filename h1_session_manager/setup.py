# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "h1_session_manager"

setup(
    name=package_name,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", ["resource/" + package_name]),
        ("share/" + package_name, ["package.xml"]),
    ],
    package_data={package_name: ["py.typed", "web/static/*"]},
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    maintainer="H1-2 training session developers",
    description="The session: state machine, poller, uploader, keyboard.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "session_manager = h1_session_manager.session_manager_node:main",
            "keyboard = h1_session_manager.keyboard.keyboard_node:main",
            "session = h1_session_manager.session_client:main",
            "console = h1_session_manager.console.console_node:main",
            "web = h1_session_manager.web.web_node:main",
        ],
    },
)
