"""How much a worker's environment takes, in GB (10^9 bytes), by what its torch is built for.

Measured on Linux: "cuda" and "cpu". "mps" is the processor's, whose packages are the same but for torch.
"""

from __future__ import annotations

# The wheels that come over the network, and what they are on the disk, compiled.
FETCHED_GB = {"cuda": 2.8, "cpu": 0.3, "mps": 0.3}
INSTALLED_GB = {"cuda": 5.2, "cpu": 1.3, "mps": 1.3}
# Room that must be free: uv links its cache into the environment, so nothing lies there twice; pip keeps the wheels
# aside meanwhile.
DISK_GB = {"cuda": 8.5, "cpu": 3.0, "mps": 3.0}
BUNDLE_GB = {"cuda": 3.5, "cpu": 1.0, "mps": 1.0}
