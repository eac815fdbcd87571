"""``eval``: the commands that measure moderators, in the order in which they are used."""

from __future__ import annotations

import typer

from moderator.cli import comparisons, gates, interop, prepare, replays, report, runs, scores, steer

app = typer.Typer()
app.command("prepare")(prepare.command)
app.command("run")(runs.run)
app.command("score")(scores.command)
app.command("compare")(comparisons.command)
app.command("gate")(gates.command)
app.command("replay")(replays.command)
app.command("report")(report.command)
app.command("steer")(steer.command)
app.command("export")(interop.export_run)
app.command("import")(interop.import_run)
