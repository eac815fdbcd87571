"""The linter: what a document that parses, or nearly does, gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path, PurePath

from moderator.errors import PolicyError, Problem
from moderator.policy.checks import check_leaks, check_policy, check_reused, front_line
from moderator.policy.diff import diff_policies
from moderator.policy.document import Document, Reading, scan
from moderator.policy.findings import Finding, in_order
from moderator.policy.library import read_text
from moderator.policy.model import Entry, Overlay, Policy
from moderator.policy.overlay import apply
from moderator.policy.parse import parse_document, parse_policy
from moderator.policy.tokens import estimate_tokens
from moderator.policy.version import satisfies
from moderator.policy.wording import check_wording, shown_text

TOKEN_BUDGET = 4000
"""What a policy may cost by default. Small models judge best below it; no model gains from more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LintOptions:
    """What a document is held against, beside the format."""

    today: date | None = None
    """For the review date; None: it is not looked at."""
    suite_texts: frozenset[str] = frozenset()
    """Texts of suites: no example may be one of them."""
    previous: Policy | None = None
    """The last version, for ids and the version's bump."""
    bases: Sequence[Policy] | None = None
    """Policies that an overlay may extend; None: not looked at."""
    budget: int = TOKEN_BUDGET
    estimate: Callable[[str], int] = estimate_tokens


def lint_text(text: str, file: str, options: LintOptions | None = None) -> tuple[Finding, ...]:
    """All findings about a policy or an overlay, by line. A document that does not parse has its problems as findings."""
    options = options or LintOptions()
    try:
        parsed = parse_document(text, file)
    except PolicyError as error:
        return in_order(_from_problem(problem) for problem in error.problems)
    document = scan(text, Reading(file))
    if isinstance(parsed, Overlay):
        return in_order((*_overlay_findings(file, parsed, document, options), *_common(file, parsed, document, options)))
    return in_order((*_policy_findings(file, parsed, document, options), *_common(file, parsed, document, options)))


def lint_file(
    path: Path, options: LintOptions | None = None, previous: Mapping[str, Policy] | None = None
) -> tuple[Finding, ...]:
    """All findings about a file; an overlay's base is the policy beside it. `previous`: last versions by slug."""
    options = options or LintOptions()
    try:
        text = read_text(path)
        base = path.with_name(f"{path.stem.partition('.')[0]}.md")
        bases = options.bases
        if bases is None and base != path:
            bases = (parse_policy(read_text(base), str(base)),) if base.is_file() else ()
    except PolicyError as error:
        return in_order(_from_problem(problem) for problem in error.problems)
    before = (previous or {}).get(path.stem, options.previous)
    return lint_text(text, str(path), replace(options, bases=bases, previous=before))


def lint_folder(
    folder: Path, options: LintOptions | None = None, previous: Mapping[str, Policy] | None = None
) -> tuple[Finding, ...]:
    """All findings about the policies and overlays in a folder."""
    paths = sorted(path for path in folder.glob("*.md") if path.stem == path.stem.lower())
    return in_order(finding for path in paths for finding in lint_file(path, options, previous))


def _from_problem(problem: Problem) -> Finding:
    return Finding(problem.file, problem.line, "P001", problem.what, problem.hint)


def _policy_findings(file: str, policy: Policy, document: Document, options: LintOptions) -> Iterator[Finding]:
    terms = [definition.term for definition in policy.definitions]
    yield from check_wording(file, document, policy.definitions, terms, _ids(policy))
    yield from check_policy(file, policy, document)
    yield from _name(file, policy.slug, document, "policy")
    if policy.status == "active":
        for key, value in (("owner", policy.owner), ("review_by", policy.review_by)):
            if not value:
                form = "policy@example.org" if key == "owner" else "2027-05-31"
                yield Finding(file, 1, "P507", f"the policy is active and has no `{key}`", f"write `{key}: {form}`")
    if options.previous is not None and options.previous.slug == policy.slug:
        yield from check_reused(file, policy, options.previous)
        yield from _bump(file, policy, options.previous, document)


def _overlay_findings(file: str, overlay: Overlay, document: Document, options: LintOptions) -> Iterator[Finding]:
    yield from _name(file, overlay.base, document, "extends")
    bases = [base for base in options.bases or () if base.slug == overlay.base]
    fitting = [base for base in bases if satisfies(base.version, overlay.compatible)]
    if options.bases is not None and not fitting:
        there = ", ".join(f"`{base.version}`" for base in bases) or "none"
        what = f"`{overlay.base}@{overlay.compatible}` fits no version of `{overlay.base}`"
        yield Finding(file, front_line(document, "extends"), "P503", what, f"versions that are there: {there}")
    known = fitting or bases
    parts: tuple[Policy | Overlay, ...] = (*known, overlay)
    terms = [definition.term for part in parts for definition in part.definitions]
    ids = {part_id for part in parts for part_id in _ids(part)}
    yield from check_wording(file, document, overlay.definitions, terms if known else None, ids if known else None)
    for base in fitting:
        yield from _variant_findings(file, base, overlay)


def _variant_findings(file: str, base: Policy, overlay: Overlay) -> Iterator[Finding]:
    """What is wrong with the policy that results, and was not with the base."""
    # Lines of the base would point into the overlay's file; without them such findings are the whole file's.
    unplaced = Policy.model_validate(base.model_dump())
    try:
        changed = apply(unplaced, overlay)
    except PolicyError as error:
        yield from (Finding(file, problem.line, "P503", problem.what, problem.hint) for problem in error.problems)
        return
    before = {(finding.code, finding.what) for finding in check_policy(file, unplaced)}
    yield from (finding for finding in check_policy(file, changed) if (finding.code, finding.what) not in before)


def _common(file: str, parsed: Policy | Overlay, document: Document, options: LintOptions) -> Iterator[Finding]:
    """What policies and overlays are both held to."""
    yield from check_leaks(file, parsed.rules, options.suite_texts)
    heading = next(block for block in document.blocks if block.level == 1)
    if parsed.title and heading.title != parsed.title:
        what = f"the title is `{heading.title}`, in the front matter `{parsed.title}`"
        yield Finding(file, heading.line, "P505", what, f"write `# {parsed.title}`")
    if not any(entry.startswith(f"{parsed.version} ") for entry in parsed.changelog):
        what = f"the changelog has no entry for {parsed.version}"
        hint = f"add `- {parsed.version} (2026-11-23): what changed` to `## Changelog`"
        yield Finding(file, front_line(document, "version"), "P506", what, hint)
    if options.today and parsed.review_by and date.fromisoformat(parsed.review_by) < options.today:
        what = f"the policy was to be reviewed by {parsed.review_by}"
        yield Finding(file, front_line(document, "review_by"), "P501", what, "review it, then set `review_by` to the next date")
    tokens = options.estimate(shown_text(document))
    if tokens > options.budget:
        what = f"about {tokens:,} tokens, the budget is {options.budget:,}"
        yield Finding(file, 0, "P601", what, "move guidance for people to `## Reviewer notes`, or split the policy")


def _name(file: str, slug: str, document: Document, key: str) -> Iterator[Finding]:
    stem = PurePath(file).stem.partition(".")[0]
    if stem != slug:
        what = f"the file is named for `{stem}`, `{key}` says `{slug}`"
        yield Finding(file, front_line(document, key), "P504", what, f"rename it to `{slug}{PurePath(file).name[len(stem) :]}`")


def _bump(file: str, policy: Policy, previous: Policy, document: Document) -> Iterator[Finding]:
    compared = diff_policies(previous, policy)
    if not compared.sufficient:
        reason = next((change.subject for change in compared.changes if change.bump == compared.needed), "changes")
        what = f"the version went from {previous.version} to {policy.version}; {reason} needs a {compared.needed} bump"
        hint = "`policy diff` lists all changes with the bump that each needs"
        yield Finding(file, front_line(document, "version"), "P502", what, hint)


def _ids(parsed: Policy | Overlay) -> set[str]:
    entries: tuple[Entry, ...] = (*parsed.rules, *parsed.exceptions, *parsed.escalations)
    return {entry.id for entry in entries}
