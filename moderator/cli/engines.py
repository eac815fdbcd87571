"""``engines``: what can run here, and what is missing for the rest."""

from __future__ import annotations

from importlib.util import find_spec

from moderator.engines import KINDS, NEEDS


def engines() -> None:
    """Print which engines can run here."""
    for kind, (_, _, extra) in KINDS.items():
        missing = [name for name in NEEDS[kind] if find_spec(name) is None]
        wanted = f"'moderator[{extra}]'" if extra else " ".join(missing)
        state = f"needs {', '.join(missing)}: pip install {wanted}" if missing else "ready"
        print(f"{kind:8} {state}")
