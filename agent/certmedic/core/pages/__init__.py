"""Self-contained HTML pages: nothing is loaded, nothing runs, and all foreign text is escaped in one place (markup.py)."""

from certmedic.core.pages.fleet import fleet_page

__all__ = ["fleet_page"]
