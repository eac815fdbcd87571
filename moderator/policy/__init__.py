"""Policies: the document format, what a document says, variants, the shipped library, the linter and the diff."""

from moderator.policy.diff import Change, PolicyDiff, diff_policies, diff_to_json, diff_to_text
from moderator.policy.findings import CHECKS, Finding, findings_to_json, findings_to_sarif, findings_to_text, has_errors
from moderator.policy.library import PolicySource, list_policies, load_overlays, load_policy, load_source, policy_path
from moderator.policy.lint import LintOptions, lint_file, lint_folder, lint_text
from moderator.policy.model import (
    ACTIONS,
    SEVERITIES,
    Action,
    Amendment,
    AppliesTo,
    Definition,
    Escalation,
    Example,
    Overlay,
    Policy,
    PolicyException,
    Rule,
    Severity,
    Taxonomy,
)
from moderator.policy.overlay import resolve
from moderator.policy.parse import parse_document, parse_overlay, parse_policy
from moderator.policy.tokens import estimate_tokens
from moderator.policy.write import write_policy

__all__ = [
    "ACTIONS",
    "CHECKS",
    "SEVERITIES",
    "Action",
    "Amendment",
    "AppliesTo",
    "Change",
    "Definition",
    "Escalation",
    "Example",
    "Finding",
    "LintOptions",
    "Overlay",
    "Policy",
    "PolicyDiff",
    "PolicyException",
    "PolicySource",
    "Rule",
    "Severity",
    "Taxonomy",
    "diff_policies",
    "diff_to_json",
    "diff_to_text",
    "estimate_tokens",
    "findings_to_json",
    "findings_to_sarif",
    "findings_to_text",
    "has_errors",
    "lint_file",
    "lint_folder",
    "lint_text",
    "list_policies",
    "load_overlays",
    "load_policy",
    "load_source",
    "parse_document",
    "parse_overlay",
    "parse_policy",
    "policy_path",
    "resolve",
    "write_policy",
]
