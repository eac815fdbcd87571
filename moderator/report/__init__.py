"""Reports for people: scores and comparisons as one HTML file, or as Markdown for a pull request.

`report_html` and `comparison_html` need the extra ``report`` (altair, vl-convert-python); Markdown needs nothing more.
"""

from moderator.report.markdown import comparison_markdown, report_markdown
from moderator.report.page import comparison_html, report_html
from moderator.report.summary import Grid, summary, summary_markdown

__all__ = [
    "Grid",
    "comparison_html",
    "comparison_markdown",
    "report_html",
    "report_markdown",
    "summary",
    "summary_markdown",
]
