"""Whether a process may read a path: also with glibc before 2.33, which leaves out the capabilities of a unit."""

import os

from certmedic.edge.os import readfile


def test_access_is_tried_where_the_c_library_says_no(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(readfile.os, "access", lambda *_, **__: False)

    assert readfile.may_access(tmp_path, os.R_OK | os.X_OK)
    assert readfile.may_access(tmp_path / "file", os.R_OK)
    assert not readfile.may_access(tmp_path / "file", os.W_OK)
    assert not readfile.may_access(tmp_path / "pipe", os.R_OK)
    assert not readfile.may_access(tmp_path / "none", os.R_OK)
