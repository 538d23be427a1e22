"""The report on one incident after it is over: its time line, and what keeps it from coming back."""

from certmedic.core.postmortem.prevention import lessons
from certmedic.core.postmortem.story import Lane, Line, Moment, Story, story

__all__ = ["Lane", "Line", "Moment", "Story", "lessons", "story"]
