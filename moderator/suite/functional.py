"""Functional tests: templates per rule, exception and near miss of a policy, expanded to labelled items of a suite.

After HateCheck (Röttger et al., ACL 2021) and CheckList (Ribeiro et al., ACL 2020): a functionality is one thing that a
moderator must get right, with cases short enough that the expected verdict follows from the policy's words alone.

A template holds slots and marks its evidence: ``[[{Many} disgust me]]``. A slot is filled from the list of its name, or with
the form of that name of an identity; a capital asks for one in the filler; the same slot has the same filler all over a
template and its thread. ``[[H4|...]]`` says which rule the evidence is for, where several hold.

Expansion draws by hashes, not by a generator of random numbers: the same file and seed give the same items on every machine and
under every version of Python, and a new template leaves the cases of the others as they were. The identities of a functionality
are dealt out in turn, so that each gets the same number of its cases.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from moderator.content import Turn
from moderator.policy import Policy
from moderator.policy.model import Slug, Version
from moderator.suite.model import Annotation, Answer, Item, Scale, Source, Span, Suite, Text
from moderator.suite.template import filled, read_marks, slots_of
from moderator.verdict import Outcome

T = TypeVar("T")
Kind = Literal["rule", "exception", "escalation", "borderline", "contrast"]
"""What a functionality tests: that a rule, an exception or an escalation is found, that a case on the line falls on the right
side of it, or that what only looks like one of them is told apart."""

Word = Annotated[str, Field(pattern=r"^[a-z]+(_[a-z]+)*$")]

MINIMUM: Final = 10
"""Cases of one slice below which a number is inconclusive: a functionality has a dozen."""

VALUES: Final[Mapping[Answer, str]] = {"yes": "violates", "no": "allowed", "unknown": "unclear"}
"""The native labels of a functional suite."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Identity(_Value):
    """A group of people with one protected characteristic, in the forms that templates ask for (``many``: "women")."""

    name: Slug
    characteristic: Text
    forms: Mapping[Word, Text]


class Template(_Value):
    """A text with slots, and the messages before it, which may have the same slots."""

    text: Text
    thread: tuple[Turn, ...] = ()
    facts: Mapping[str, str] = {}
    cases: Annotated[int, Field(ge=1)] | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, then the messages and their authors."""
        return (self.text, *(part for turn in self.thread for part in (turn.author, turn.text)))

    @property
    def slots(self) -> tuple[str, ...]:
        """The slots that the texts name, each once."""
        return tuple(dict.fromkeys(slot for text in self.texts for slot in slots_of(text)))


def _template(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class Functionality(_Value):
    """One thing that a moderator must get right, and the templates that test it."""

    id: Slug
    description: Text
    kind: Kind
    tests: str
    """The rule, exception or escalation that it is about; of a contrast, the one that it comes near."""
    violates: Answer
    rules: Mapping[str, Answer] = {}
    """Rules that hold or do not. Where nothing is violated no rule holds; else one that is not named is unknown."""
    waived: Mapping[str, str] = {}
    """Rules that are met, each with the exception that sets it aside."""
    escalation: str | None = None
    """What the text asks for beside the escalations that follow from a rule."""
    cases: Annotated[int, Field(ge=1)] | None = None
    """Cases of each template; unnamed: the file's. A template without slots has one."""
    templates: Annotated[tuple[Annotated[Template, BeforeValidator(_template)], ...], Field(min_length=1)]

    @property
    def held(self) -> tuple[str, ...]:
        """The rules that hold."""
        return tuple(rule for rule, answer in self.rules.items() if answer == "yes")

    def outcome(self, policy: Policy) -> Outcome:
        """The outcome of a right verdict; a rule that people decide leaves the machine at ``needs_review``."""
        if self.violates == "no":
            return "allowed_by_exception" if self.waived else "allowed"
        reviewed = any(policy.rule(rule).review for rule in self.held)
        return "needs_review" if self.violates == "unknown" or reviewed else "violates"


class Functional(_Value):
    """The functional tests of one policy, as their file has them."""

    functional: Slug
    version: Version
    title: Text
    policy: Text
    """The slug of a shipped policy, or the path of a document relative to the file."""
    seed: int = 0
    cases: Annotated[int, Field(ge=1)] = 1
    """Cases of each template that has slots."""
    identities: tuple[Identity, ...] = ()
    slots: Mapping[Word, Annotated[tuple[Text, ...], Field(min_length=1)]] = {}
    functionalities: Annotated[tuple[Functionality, ...], Field(min_length=1)]

    @property
    def forms(self) -> frozenset[str]:
        """The slots that an identity fills."""
        return frozenset(form for identity in self.identities for form in identity.forms)

    def about_identity(self, template: Template) -> bool:
        """Whether a template has a slot that an identity fills."""
        return not self.forms.isdisjoint(template.slots)

    def cases_of(self, functionality: Functionality, template: Template) -> int:
        """How many cases a template is expanded to."""
        return (template.cases or functionality.cases or self.cases) if template.slots else 1


@dataclass(frozen=True, slots=True)
class Case:
    """One expanded template: a text with its evidence, and where it came from."""

    functionality: Functionality
    template: int
    """Which template of the functionality, from 0."""
    identity: Identity | None
    text: str
    spans: tuple[Span, ...]
    thread: tuple[Turn, ...] = ()

    @property
    def id(self) -> str:
        """Made from the functionality and the texts: it stays when other templates come and go."""
        texts = (self.text, *(part for turn in self.thread for part in (turn.author, turn.text)))
        return f"{self.functionality.id}-{_hash(*texts).hex()[:10]}"


def expand(functional: Functional, *, seed: int | None = None) -> Iterator[Case]:
    """All cases, in the order of the file. Another seed than the file's draws other fillers for the same templates."""
    seed = functional.seed if seed is None else seed
    for functionality in functional.functionalities:
        dealt = cycle(_drawn(functional.identities, [one.name for one in functional.identities], seed, functionality.id))
        for index, template in enumerate(functionality.templates):
            count = functional.cases_of(functionality, template)
            identities = list(islice(dealt, count)) if functional.about_identity(template) else [None] * count
            for number, identity in enumerate(identities):
                yield _case(functional, functionality, index, identity, number, seed)


def to_suite(functional: Functional, policy: Policy, *, seed: int | None = None) -> Suite:
    """The cases as a suite. `policy` is the one that the file names: its rules are the labels' keys.

    Its slices: `functionality`, `kind`, `tests`, `outcome` (of a right verdict), and where they apply `exception` and `waived`,
    `escalation`, `identity` and `characteristic`. The group is the template, so that intervals resample templates.
    """
    return Suite(
        slug=functional.functional,
        version=functional.version,
        title=functional.title,
        policy=functional.policy,
        source=Source(
            name=functional.title,
            licence="Apache-2.0",
            citation="Written for this project, after the method of Röttger et al., ACL 2021",
        ),
        scale=Scale(values=tuple(VALUES.values()), violates=(VALUES["yes"],), unknown=(VALUES["unknown"],)),
        slices=("kind", "tests", "functionality", *(("identity",) if functional.identities else ()), "perturbation"),
        minimum=MINIMUM,
        items=tuple(_item(case, policy) for case in expand(functional, seed=seed)),
    )


def _item(case: Case, policy: Policy) -> Item:
    asked, template = case.functionality, case.functionality.templates[case.template]
    answers = {rule.id: "no" for rule in policy.rules} if asked.violates == "no" else dict(asked.rules)
    label = Annotation.model_validate(
        {"value": VALUES[asked.violates], "violates": asked.violates, "rules": answers, "spans": case.spans}
    )
    return Item(
        id=case.id,
        text=case.text,
        thread=case.thread,
        facts=template.facts,
        group=f"{asked.id}/{case.template + 1}",
        slices=_slices(case, policy),
        labels=(label,),
    )


def _slices(case: Case, policy: Policy) -> dict[str, str]:
    asked = case.functionality
    slices = {"functionality": asked.id, "kind": asked.kind, "tests": asked.tests, "outcome": asked.outcome(policy)}
    if asked.waived:
        slices["exception"] = ",".join(dict.fromkeys(asked.waived.values()))
        slices["waived"] = ",".join(asked.waived)
    if asked.escalation:
        slices["escalation"] = asked.escalation
    if case.identity:
        slices |= {"identity": case.identity.name, "characteristic": case.identity.characteristic}
    return slices | {"perturbation": "none"}


def _case(
    functional: Functional, functionality: Functionality, index: int, identity: Identity | None, number: int, seed: int
) -> Case:
    """The case with this number of a template: each slot has the next filler of its own drawn order."""
    template = functionality.templates[index]
    fillers = dict(identity.forms) if identity else {}
    for slot in template.slots:
        if slot not in fillers:
            values = functional.slots[slot]
            fillers[slot] = _drawn(values, values, seed, functionality.id, template.text, slot)[number % len(values)]
    text, marks = read_marks(filled(template.text, fillers))
    spans = tuple(Span(start=start, end=end, rule=rule or functionality.held[0]) for start, end, rule in marks)
    thread = tuple(Turn(text=filled(turn.text, fillers), author=filled(turn.author, fillers)) for turn in template.thread)
    return Case(functionality, index, identity, text, spans, thread)


def _drawn(values: Sequence[T], names: Sequence[str], *key: object) -> list[T]:
    """The values in an order that the key decides."""
    return [
        value for _, value in sorted(zip((_hash(*key, name) for name in names), values, strict=True), key=lambda pair: pair[0])
    ]


def _hash(*parts: object) -> bytes:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode("utf-8", "surrogatepass")).digest()
