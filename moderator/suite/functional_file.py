"""The files of functional tests: read, and held against the policy that they are about, with all that is wrong told at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from moderator.errors import PolicyError, Problem, SuiteError
from moderator.policy import Policy, load_policy
from moderator.suite.functional import Functional, Functionality, Template, expand, to_suite
from moderator.suite.model import Suite
from moderator.suite.source import At, compose, plain
from moderator.suite.template import leftovers, read_marks

Fault = tuple[At, str, str]
"""Where, what, and a form that would be right."""


def load_functional(path: Path) -> tuple[Functional, Policy]:
    """The functional tests in a YAML file, and the policy that they are about.

    Raises `SuiteError` with every problem of the file as ``file:line: what``.
    """
    name = str(path)
    hint = "write `functional: name`, `policy: hate`, `functionalities:`"
    root = compose(path, empty="holds no keys", hint=hint)
    value, lines, problems = plain(root, name)
    functional, kept, faults = _validated(value)
    problems += [_problem(name, lines, fault) for fault in faults]
    if functional is None:
        raise _error(problems)
    try:
        policy = load_policy(path.parent / functional.policy if functional.policy.endswith(".md") else functional.policy)
    except PolicyError as error:
        fault = (
            ("policy",),
            f"the policy cannot be had: {error}",
            "give the slug of a shipped policy, or a path to a `.md` file",
        )
        raise _error([*problems, _problem(name, lines, fault)]) from None
    problems += [_problem(name, lines, fault) for fault in _faults(functional, policy, kept)]
    if not problems:
        problems = [_problem(name, lines, fault) for fault in _repeated(functional)]
    if problems:
        raise _error(problems)
    return functional, policy


def load_functional_suite(path: Path, *, seed: int | None = None) -> Suite:
    """The functional tests in a YAML file as a suite; another seed than the file's draws other fillers. Raises `SuiteError`."""
    functional, policy = load_functional(path)
    return to_suite(functional, policy, seed=seed)


def _validated(value: Any) -> tuple[Functional | None, Sequence[int], list[Fault]]:
    """The file's value, the functionalities that are sound (by their place in the file), and what is wrong with the rest."""
    try:
        functional = Functional.model_validate(value)
        return functional, range(len(functional.functionalities)), []
    except ValidationError as error:
        # a list is too short also when its entries are wrong: that is told for the entries
        paths = [found["loc"] for found in error.errors()]
        found_once = (e for e in error.errors() if not any(p[: len(e["loc"])] == e["loc"] != p for p in paths))
        faults = [_from_pydantic(found) for found in found_once]
    inside = {where[1] for where, _, _ in faults if where[:1] == ("functionalities",) and len(where) > 1}
    elsewhere = any(where[:1] != ("functionalities",) or len(where) == 1 for where, _, _ in faults)
    entries = value.get("functionalities")
    kept = [index for index in range(len(entries)) if index not in inside] if isinstance(entries, list) else []
    if elsewhere or not kept:
        return None, (), faults
    return Functional.model_validate({**value, "functionalities": [entries[index] for index in kept]}), kept, faults


def _from_pydantic(error: Mapping[str, Any]) -> Fault:
    where = tuple(step for step in error["loc"] if step != "[key]")
    named = ".".join(map(str, where)) or "file"
    message = error["msg"]
    return where, f"`{named}`: {message[:1].lower()}{message[1:]}", ""


def _faults(functional: Functional, policy: Policy, kept: Sequence[int]) -> Iterator[Fault]:
    """What the functionalities get wrong about the policy, their slots, their evidence and their identities."""
    yield from _slot_list_faults(functional)
    seen: dict[str, int] = {}
    for index, functionality in zip(kept, functional.functionalities, strict=True):
        where: At = ("functionalities", index)
        if functionality.id in seen:
            yield (*where, "id"), f"`{functionality.id}` is given twice", f"first as number {seen[functionality.id] + 1}"
        seen.setdefault(functionality.id, index)
        yield from _verdict_faults(functionality, policy, where)
        for number, template in enumerate(functionality.templates):
            yield from _template_faults(functional, functionality, template, (*where, "templates", number))
        yield from _share_faults(functional, functionality, where)


def _slot_list_faults(functional: Functional) -> Iterator[Fault]:
    used = {slot for one in functional.functionalities for template in one.templates for slot in template.slots}
    for slot, values in functional.slots.items():
        if slot in functional.forms:
            yield ("slots", slot), f"`{slot}` is a form of the identities too", "give the slot another name"
        elif slot not in used:
            yield ("slots", slot), f"no template uses `{{{slot}}}`", "use it or take it out"
        for number, value in enumerate(values):
            if any(mark in value for mark in ("[[", "]]", "{", "}")):
                yield ("slots", slot, number), f"a filler holds a mark: {value!r}", "marks belong to templates"
            if values.index(value) != number:
                yield ("slots", slot, number), f"`{value}` is given twice", "keep one"
    names = Counter(identity.name for identity in functional.identities)
    for number, identity in enumerate(functional.identities):
        if names[identity.name] > 1:
            yield ("identities", number), f"`{identity.name}` is given twice", "keep one"
        if missing := sorted(set(functional.identities[0].forms) ^ set(identity.forms)):
            what = f"`{identity.name}` and the first identity differ in their forms: {', '.join(missing)}"
            yield ("identities", number), what, "give all identities the same forms"


def _verdict_faults(functionality: Functionality, policy: Policy, where: At) -> Iterator[Fault]:
    rules = {rule.id for rule in policy.rules}
    exceptions, escalations = {x.id for x in policy.exceptions}, {e.id for e in policy.escalations}
    testable = {"rule": rules, "exception": exceptions, "escalation": escalations}
    about = testable.get(functionality.kind, rules | exceptions | escalations)
    if functionality.tests not in about:
        yield (*where, "tests"), f"`{functionality.tests}` is no {functionality.kind} of the policy", f"one of {_listed(about)}"
    for field, ids in (("rules", functionality.rules), ("waived", functionality.waived)):
        for rule in ids:
            if rule not in rules:
                yield (*where, field, rule), f"`{rule}` is no rule of the policy", f"rules are {_listed(rules)}"
    for rule, exception in functionality.waived.items():
        if exception not in exceptions:
            what, hint = f"`{exception}` is no exception of the policy", f"exceptions are {_listed(exceptions)}"
            yield (*where, "waived", rule), what, hint
        elif rule in rules and not policy.exception(exception).waives(rule):
            yield (*where, "waived", rule), f"`{exception}` does not set aside `{rule}`", "look at `Covers` and `Never for`"
    if functionality.escalation is not None and functionality.escalation not in escalations:
        what, hint = f"`{functionality.escalation}` is no escalation of the policy", f"escalations are {_listed(escalations)}"
        yield (*where, "escalation"), what, hint
    if functionality.violates == "yes" and not functionality.held:
        yield (*where, "rules"), "a violation, and no rule is `yes`", "name the rule that holds"
    if functionality.violates != "yes" and functionality.held:
        yield (
            (*where, "rules"),
            f"`{functionality.held[0]}` holds, and `violates` is not `yes`",
            "a rule that is waived goes to `waived`",
        )


def _template_faults(functional: Functional, functionality: Functionality, template: Template, where: At) -> Iterator[Fault]:
    declared = {*functional.slots, *functional.forms}
    for slot in template.slots:
        if slot not in declared:
            yield where, f"slot `{{{slot}}}` is not declared", f"slots are {_listed(declared)}"
    for left in dict.fromkeys(mark for text in template.texts for mark in leftovers(text)):
        yield where, f"`{left}` is no slot and no evidence", "write `{slot}` and `[[evidence]]`"
    marks = read_marks(template.text)[1]
    if functionality.violates == "yes" and not marks:
        yield where, "no evidence is marked", "put `[[` and `]]` around the words that violate"
    if functionality.violates != "yes" and marks:
        yield where, "evidence is marked, and nothing is violated", "take out `[[` and `]]`"
    for _, _, rule in marks:
        if rule and rule not in functionality.held:
            yield where, f"evidence for `{rule}`, which does not hold here", "name a rule that is `yes`"
        if not rule and len(functionality.held) > 1:
            yield where, "evidence for which rule?", f"write `[[{functionality.held[0]}|...]]`"


def _share_faults(functional: Functional, functionality: Functionality, where: At) -> Iterator[Fault]:
    """Whether the identities can be dealt out evenly over the cases of a functionality."""
    about = [template for template in functionality.templates if functional.about_identity(template)]
    count, groups = sum(functional.cases_of(functionality, template) for template in about), len(functional.identities)
    if groups and count % groups:
        what = f"{count} cases cannot be dealt out evenly to {groups} identities"
        yield (*where, "templates"), what, "make templates times `cases` a multiple"


def _repeated(functional: Functional) -> Iterator[Fault]:
    """Cases whose text another case has."""
    index = {functionality.id: number for number, functionality in enumerate(functional.functionalities)}
    seen: set[str] = set()
    for case in expand(functional):
        if case.text in seen:
            where: At = ("functionalities", index[case.functionality.id], "templates", case.template)
            yield where, f"the text was there before: {case.text!r}", "give a slot more fillers, or the template fewer `cases`"
        seen.add(case.text)


def _problem(file: str, lines: Mapping[At, int], fault: Fault) -> Problem:
    """At the line of the value that the keys lead to, or of the last one on the way that is there."""
    where, what, hint = fault
    at = where
    while at not in lines:
        at = at[:-1]
    return Problem(file, lines[at], what, hint)


def _listed(ids: set[str]) -> str:
    return ", ".join(f"`{one}`" for one in sorted(ids))


def _error(problems: Sequence[Problem]) -> SuiteError:
    return SuiteError(sorted(dict.fromkeys(problems)))
