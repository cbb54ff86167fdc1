"""Groups from a table beside the images, or from the files' names."""

from __future__ import annotations

import pytest

from sit2.data.readers import read_dataset
from sit2.errors import ConfigError, DataError


@pytest.fixture
def photos(save_image, tmp_path):
    """Two classes of three images each: p1_a.png, p1_b.png and p2_a.png, and q… likewise."""
    for name, letter in (("ant", "p"), ("bee", "q")):
        for file in ("1_a", "1_b", "2_a"):
            save_image(f"DATA/{name}/{letter}{file}.png")
    return tmp_path / "DATA"


def table(folder, text):
    path = folder.parent / "lesions.csv"
    path.write_text(text)
    return path


GROUPS = ("p1", "p1", "p2", "q1", "q1", "q2")
NAMES = ("p1_a", "p1_b", "p2_a", "q1_a", "q1_b", "q2_a")
FOLDERS = ("ant", "ant", "ant", "bee", "bee", "bee")


class TestTable:
    @pytest.mark.parametrize("key", ["path", "id", "image", "file", "image_id", "Image"])
    @pytest.mark.parametrize(
        "form", ["{folder}/{name}.png", "{folder}/{name}", "{name}.png", "{name}", ".\\{folder}\\{name}.png"]
    )
    def test_names_an_image_by_path_or_name_with_or_without_extension(self, photos, key, form):
        rows = [
            f"{group},{form.format(folder=folder, name=name)}"
            for group, folder, name in zip(GROUPS, FOLDERS, NAMES, strict=True)
        ]
        path = table(photos, "\n".join([f"lesion_id,{key}", *reversed(rows), "z9,somewhere/else.png"]) + "\n")
        assert read_dataset(photos, groups=f"{path}:lesion_id").groups == GROUPS

    def test_for_a_manifest_its_own_groups_do_not_count(self, photos):
        lines = ["path,label,group"]
        lines += [f"{f}/{n}.png,{f},x{k}" for k, (f, n) in enumerate(zip(FOLDERS, NAMES, strict=True))]
        (photos / "samples.csv").write_text("\n".join(lines) + "\n")
        path = table(photos, "id,who\n" + "".join(f"{n},{g}\n" for n, g in zip(NAMES, GROUPS, strict=True)))
        assert read_dataset(photos, groups=f"{path}:who").groups == GROUPS

    @pytest.mark.parametrize(
        ("text", "column", "message"),
        [
            ("id,who\np1_a,1\n", "patient", " has no column 'patient' for groups\nchoose from id, who"),
            (
                "name,who\np1_a,1\n",
                "who",
                " has no column that names the images\nexpected one of path, id, image, ",
            ),
            ("id,who\np1_a,1\np1_b,1\np2_a,\n", "who", ", line 4: the who is empty\n"),
            (
                "id,who\np1_a,1\np1_a.png,2\n",
                "who",
                ", line 3: p1_a.png has the who '2', but '1' in line 2\n",
            ),
            (
                "id,who\np1_a,1\np1_b,1\np2_a,2\n",
                "who",
                " has no row for 3 images of 6: bee/q1_a.png, bee/q1_b.png, ",
            ),
        ],
    )
    def test_what_is_wrong_is_said(self, photos, text, column, message):
        path = table(photos, text)
        with pytest.raises(DataError) as caught:
            read_dataset(photos, groups=f"{path}:{column}")
        assert str(caught.value).startswith(f"{path}{message}")
        assert str(caught.value).count("\n") <= 2

    def test_a_name_that_stands_in_two_folders(self, photos, save_image):
        save_image("DATA/bee/p1_a.png")
        path = table(
            photos, "image,who\n" + "".join(f"{n},{g}\n" for n, g in zip(NAMES, GROUPS, strict=True))
        )
        with pytest.raises(DataError, match=r"line 2: p1_a fits 2 images: ant/p1_a.png, bee/p1_a.png"):
            read_dataset(photos, groups=f"{path}:who")

    def test_no_such_table(self, photos):
        table(photos, "id,who\n")
        with pytest.raises(DataError, match=r"did you mean 'lesions.csv'"):
            read_dataset(photos, groups=f"{photos.parent}/lesion.csv:who")


class TestPattern:
    @pytest.mark.parametrize("pattern", [r"^([pq]\d)_", r"[pq]\d", r"/([pq]\d)_[ab]\.png$"])
    def test_first_group_or_whole_match(self, photos, pattern):
        assert read_dataset(photos, group_pattern=pattern).groups == GROUPS

    def test_only_a_pattern_with_a_slash_sees_the_folders(self, photos):
        assert set(read_dataset(photos, group_pattern=r"^(\w+)/").groups) == {"ant", "bee"}
        with pytest.raises(
            DataError, match=r"^group_pattern 'ant' finds nothing in 6 images of 6: p1_a.png, "
        ):
            read_dataset(photos, group_pattern="ant")

    def test_an_image_that_does_not_match(self, photos):
        with pytest.raises(
            DataError, match=r"finds nothing in 3 images of 6: q1_a.png, q1_b.png, q2_a.png\n"
        ):
            read_dataset(photos, group_pattern=r"^p\d")

    def test_no_regular_expression(self, photos):
        with pytest.raises(ConfigError, match=r"^group_pattern '\(' is no regular expression: missing \)"):
            read_dataset(photos, group_pattern="(")

    def test_one_way_only(self, photos):
        with pytest.raises(ConfigError, match=r"^both groups and group_pattern are given\n"):
            read_dataset(photos, groups="who", group_pattern="p")
