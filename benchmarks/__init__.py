"""Speed measurements.

Importing this package pins every arithmetic library to one compute thread, before any of them is imported.
"""

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

LOAD = os.getloadavg()[0]
"""The load before anything is imported: importing torch and vLLM is load enough to look busy."""
