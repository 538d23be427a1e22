"""Self-contained HTML pages: nothing is loaded, nothing runs, and all foreign text is escaped in one place (markup.py).

Beside them the same report as Markdown.
"""

from certmedic.core.pages.fleet import fleet_page
from certmedic.core.pages.incident import incident_page
from certmedic.core.pages.markdown import incident_markdown

__all__ = ["fleet_page", "incident_markdown", "incident_page"]
