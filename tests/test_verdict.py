"""The outcome line: its schema is the published one, and a line is read back as what was written."""

import json
from pathlib import Path

import jsonschema
import pytest
from pydantic import ValidationError

from moderator.verdict import OUTCOME, Evidence, Failure, FoundRule, Provenance, Score, Verdict, to_line

PUBLISHED = Path(__file__).parent.parent / "docs" / "outcome-1.schema.json"
PROVENANCE = Provenance(
    policy="hate@1.0.0", policy_digest="sha256:0", prompt_digest="sha256:1", engine="scripted", model="scripted"
)
VERDICT = Verdict(
    content_id="c1",
    policy="hate",
    outcome="violates",
    rules=(FoundRule(id="H1", severity="high", evidence=(Evidence(quote="a", start=0, end=1, match="exact"),)),),
    severity="high",
    action="remove",
    score=Score(value=0.93, method="label_probability", label_mass=0.99),
    provenance=PROVENANCE,
)
FAILURE = Failure(
    content_id="c2", policy="hate", reason="too_long", detail="9 tokens where the model takes 8", provenance=PROVENANCE
)


def test_published_schema_is_the_one_of_the_code() -> None:
    """Rewrite it with OUTCOME.json_schema(by_alias=True, mode="serialization") when the change is meant."""
    assert json.loads(PUBLISHED.read_text()) == OUTCOME.json_schema(by_alias=True, mode="serialization")


@pytest.mark.parametrize("outcome", [VERDICT, FAILURE])
def test_line_fits_the_published_schema_and_reads_back(outcome: Verdict | Failure) -> None:
    line = to_line(outcome)
    assert "\n" not in line
    jsonschema.validate(json.loads(line), json.loads(PUBLISHED.read_text()))
    assert OUTCOME.validate_json(line) == outcome


def test_line_names_its_schema_first() -> None:
    assert to_line(VERDICT).startswith('{"schema":"outcome/1","kind":"verdict","content_id":"c1"')


@pytest.mark.parametrize(
    "change", [{"kind": "other"}, {"outcome": "fine"}, {"extra": 1}, {"score": {"value": 2, "method": "votes"}}]
)
def test_other_lines_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        OUTCOME.validate_python(json.loads(to_line(VERDICT)) | change)
