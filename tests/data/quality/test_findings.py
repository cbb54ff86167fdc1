"""check.json is read as it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sit2.data.quality.findings import Finding, findings_json, read_findings
from sit2.errors import RunFolderError
from sit2.storage.run_folder import RunFolder

TEXT = st.text(max_size=8)
DETAIL = st.dictionaries(TEXT, TEXT | st.integers() | st.booleans() | st.lists(TEXT, max_size=2), max_size=2)
FINDING = st.builds(
    Finding,
    TEXT,
    st.sampled_from(["wrong", "warning", "note"]),
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(DETAIL, max_size=2).map(tuple),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(FINDING, max_size=3))
def test_findings_come_back(tmp_path_factory: pytest.TempPathFactory, findings):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    folder.write_json("check.json", findings_json(findings))
    assert read_findings(folder.path / "check.json") == tuple(findings)


def test_no_file_means_that_nothing_was_checked(tmp_path: Path):
    assert read_findings(tmp_path / "check.json") is None


@pytest.mark.parametrize("content", ["[]", "{}", '{"findings": 3}', '{"findings": [{"kind": "leak"}]}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str):
    (tmp_path / "check.json").write_text(content)
    with pytest.raises(RunFolderError, match=r"cannot read .*check\.json: "):
        read_findings(tmp_path / "check.json")
