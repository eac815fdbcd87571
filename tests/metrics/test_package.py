from __future__ import annotations

import subprocess
import sys
import types

import moderator.metrics


def test_all_names_every_public_member() -> None:
    members = {
        name
        for name, value in vars(moderator.metrics).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(moderator.metrics.__all__) == members


def test_the_docstring_lists_what_can_be_called() -> None:
    described = moderator.metrics.__doc__ or ""
    functions = [name for name in moderator.metrics.__all__ if isinstance(getattr(moderator.metrics, name), types.FunctionType)]
    missing = [name for name in functions if f"`{name}`" not in described and not name.endswith("_estimate")]
    assert missing == []


def test_statistics_are_loaded_by_those_who_use_them_and_without_heavy_libraries() -> None:
    script = """if True:
        import sys
        import moderator
        assert not {"scipy", "sklearn", "moderator.metrics"} & set(sys.modules)
        import moderator.metrics
        assert not {"scipy.stats", "scipy.optimize", "sklearn", "pandas"} & set(sys.modules)
    """
    subprocess.run([sys.executable, "-c", script], check=True)
