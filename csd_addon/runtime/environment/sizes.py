"""How large a worker's environment is, in GB (10^9 bytes). The keys say what its torch is built for.

"cuda" and "cpu" were measured on Linux. "mps" has the numbers of "cpu": only torch differs between their packages.
"""

from __future__ import annotations

# The wheels that come over the network.
DOWNLOAD_GB = {"cuda": 2.8, "cpu": 0.3, "mps": 0.3}
# The environment on the disk, its bytecode included.
INSTALLED_GB = {"cuda": 5.2, "cpu": 1.3, "mps": 1.3}
# What must be free on the disk before the installation. uv links its cache into the environment, so nothing lies there
# twice; pip keeps the wheels aside meanwhile.
REQUIRED_GB = {"cuda": 8.5, "cpu": 3.0, "mps": 3.0}
# What must be free on the disk before an offline bundle is written.
BUNDLE_REQUIRED_GB = {"cuda": 3.5, "cpu": 1.0, "mps": 1.0}
