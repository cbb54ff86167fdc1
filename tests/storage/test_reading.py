"""What a run wrote is read back; what something else wrote is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_run import change_json

from sit2.errors import RunFolderError
from sit2.storage.reading import number, read_list, read_object, read_settings, read_table, reading
from sit2.storage.run_folder import RunFolder
from sit2.storage.run_info import COMPLETE, FAILED, FORMAT_VERSION, read_info


def begun(path: Path, *, data: object = "/photos") -> RunFolder:
    """Begin a run in a folder."""
    folder = RunFolder.open(
        path,
        settings={"seed": 3},
        identity={"data": data, "methods": ["plain", "not-sure"]},
        command="sit2 train",
    )
    folder.begin()
    return folder


class TestRunJson:
    def test_what_a_run_writes_is_read(self, tmp_path):
        with begun(tmp_path) as folder:
            with folder.stage("images"):
                pass
            folder.save_info(
                root="/photos",
                dataset={
                    "name": "photos",
                    "fingerprint": "f",
                    "classes": ["a", "b"],
                    "images": 7,
                    "bytes": 9,
                },
                samples_seen={"plain": 900},
                training_seconds={"plain": 1.5},
                notes=["a note"],
            )
            info = read_info(tmp_path)
            assert (info.status, info.complete, info.is_comparison) == ("running", False, False)
            assert (info.data, info.methods, info.command) == ("/photos", ("plain", "not-sure"), "sit2 train")
            assert (info.dataset.name, info.dataset.classes, info.dataset.images) == ("photos", ("a", "b"), 7)
            assert (info.samples_seen, info.training_seconds) == ({"plain": 900}, {"plain": 1.5})
            assert set(info.seconds) == {"images"}
            assert info.versions["numpy"]
            folder.finish()
        assert read_info(tmp_path).status == COMPLETE

    def test_before_the_images_are_read_nothing_is_known_of_them(self, tmp_path):
        with begun(tmp_path):
            assert read_info(tmp_path).dataset.classes == ()

    def test_why_a_run_failed(self, tmp_path):
        with begun(tmp_path) as folder, pytest.raises(ValueError, match="no"), folder.running():
            raise ValueError("no")
        info = read_info(tmp_path)
        assert (info.status, info.error) == (FAILED, "no")

    def test_a_comparison_has_several_data_sets(self, tmp_path):
        with begun(tmp_path, data=["/a", "/b"]):
            info = read_info(tmp_path)
        assert (info.is_comparison, info.data) == (True, ("/a", "/b"))

    @pytest.mark.parametrize(
        "change",
        [{"status": None}, {"dataset": []}, {"seconds": {"images": None}}, {"methods": [3]}, {"versions": 3}],
    )
    def test_what_another_program_wrote_is_damaged(self, tmp_path, change):
        with begun(tmp_path):
            change_json(tmp_path / "run.json", **change)
            with pytest.raises(RunFolderError, match=r"^cannot read .*run\.json: .*\nrestore it"):
                read_info(tmp_path)

    def test_another_version_is_no_damage(self, tmp_path):
        with begun(tmp_path):
            change_json(tmp_path / "run.json", format_version=FORMAT_VERSION - 1, seconds=[])
            with pytest.raises(
                RunFolderError, match=f"has format version {FORMAT_VERSION - 1}, and this sit2"
            ):
                read_info(tmp_path)

    def test_a_folder_of_somebody_else(self, tmp_path):
        with pytest.raises(RunFolderError, match=r"has no run\.json\ngive the folder"):
            read_info(tmp_path)


class TestFiles:
    def test_what_is_absent_is_none(self, tmp_path):
        path = tmp_path / "absent"
        assert (read_object(path), read_list(path), read_settings(path), read_table(path)) == (
            None,
            None,
            {},
            None,
        )

    @pytest.mark.parametrize("content", ["[]", "null", "3", "{", '"a"', "[" * 100_000])
    def test_no_object(self, tmp_path, content):
        path = tmp_path / "x.json"
        path.write_text(content)
        with pytest.raises(RunFolderError, match=rf"^cannot read {path}: "):
            read_object(path)

    @pytest.mark.parametrize("content", ["{}", "null", "3", "[1", '"a"'])
    def test_no_list(self, tmp_path, content):
        path = tmp_path / "x.json"
        path.write_text(content)
        with pytest.raises(RunFolderError, match=rf"^cannot read {path}: "):
            read_list(path)

    def test_settings(self, tmp_path):
        with begun(tmp_path):
            assert read_settings(tmp_path / "config.yaml") == {"seed": 3}
        (tmp_path / "config.yaml").write_text("- 3")
        with pytest.raises(RunFolderError, match="it holds no settings"):
            read_settings(tmp_path / "config.yaml")

    def test_a_table_is_text(self, tmp_path):
        (tmp_path / "x.csv").write_text("a,b\nNA,1.0\n")
        table = read_table(tmp_path / "x.csv", "a", "b")
        assert table.to_dict("records") == [{"a": "NA", "b": "1.0"}]
        with pytest.raises(RunFolderError, match="it has no column 'c'"):
            read_table(tmp_path / "x.csv", "a", "c")

    def test_a_number(self):
        assert number("1e-3") == 0.001
        assert number("") != number("")

    @pytest.mark.parametrize(
        "error", [KeyError("x"), ValueError("x"), TypeError("x"), OSError("x"), IndexError("x")]
    )
    def test_every_way_to_be_damaged_names_the_file(self, error):
        with pytest.raises(RunFolderError, match=r"^cannot read here: .*x"), reading(Path("here")):
            raise error

    def test_a_bug_is_no_damage(self):
        with pytest.raises(RuntimeError), reading(Path("here")):
            raise RuntimeError


def test_a_number_that_is_no_number_comes_back_from_json(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_json("x.json", {"a": [float("inf"), float("nan")]})
    assert read_object(tmp_path / "x.json") == json.loads('{"a": [null, null]}')
