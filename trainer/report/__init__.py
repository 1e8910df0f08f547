"""One look for every report: a page of blocks, written as a single HTML file that opens without a network.

page = Page("Demo", "two short acts")
page.add(heading("Act one"), table(["run", "pass@1"], [["start", "0.54"]], caption="512 held-out tasks"))
page.write(Path("report.html"))

`write_report` makes the page of what `palaestra train`, `eval` or `compare` left in a folder.
"""

from .of_folder import write_report
from .page import Page, Raw, details, figure, heading, note, preformatted, side_by_side, table, text, transcript
from .plots import Series, curves, intervals

__all__ = [
    "Page",
    "Raw",
    "Series",
    "curves",
    "details",
    "figure",
    "heading",
    "intervals",
    "note",
    "preformatted",
    "side_by_side",
    "table",
    "text",
    "transcript",
    "write_report",
]
