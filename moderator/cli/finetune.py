"""``finetune``: the commands that make an adapter, in the order in which they are used."""

from __future__ import annotations

import typer

from moderator.cli import calibrating, rows, training

app = typer.Typer(callback=lambda: None)
app.command("rows")(rows.command)
app.command("train")(training.train)
app.command("merge")(training.merge)
app.command("calibrate")(calibrating.command)
