"""`moderator finetune train` as a script, for launchers that want a file: ``python finetune/train.py CONFIG.yaml``."""

from __future__ import annotations

import sys

from moderator.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["finetune", "train"]
    main()
