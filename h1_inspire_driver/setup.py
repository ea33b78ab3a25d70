# SPDX-License-Identifier: Apache-2.0
from setuptools import find_packages, setup

package_name = "h1_inspire_driver"

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
    description="The Inspire hands over Modbus TCP.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "inspire_driver = h1_inspire_driver.inspire_driver_node:main",
        ],
    },
)
