"""Predicting and evaluating read labels by the rule that training has, whatever lies above the class folders."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sit2.data.readers import read_dataset, read_images
from sit2.data.readers.folder import labels_in

CLASSES = ("bus", "car", "train")


def layout(*folders, images=2):
    return [f"{folder}/{n}.png" for folder in folders for n in range(images)]


def labels(images, *, folder="photos", meant="class", classes=CLASSES):
    return labels_in(images, folder, classes, layout=meant)


@pytest.mark.parametrize("meant", ["class", "split/class", ""])
class TestAbove:
    def test_a_class_named_like_a_split(self, meant):
        """{train,test}/{bus,car,train} was evaluated at 66 %: every image in 'train' counted as the class."""
        images = layout(*(f"{split}/{name}" for split in ("train", "test") for name in CLASSES))
        assert labels(images, meant=meant) == [image.split("/")[1] for image in images]

    @pytest.mark.parametrize("above", ["", "2024/", "hospital A/ward 3/", "car/", "car/bus/"])
    def test_whatever_folders_stand_above(self, meant, above):
        images = layout(*(above + name for name in CLASSES))
        assert labels(images, meant=meant) == [image.split("/")[-2] for image in images]

    def test_batches_of_which_one_bears_a_classs_name(self, meant):
        images = layout("car/bus", "car/train", "2024/bus", "2024/car")
        assert labels(images, meant=meant) == [image.split("/")[1] for image in images]


def test_one_class_alone():
    assert labels(["1.png", "2.png"], folder="car") == ["car", "car"]
    assert labels(["a/1.png", "2.png"], folder="car") == ["car", "car"]
    assert labels(["1.png"], folder="lorry") == [""]


def test_images_of_no_class_have_no_label():
    images = [*layout("bus", "car", "lorry"), "loose.png"]
    assert labels(images) == ["bus", "bus", "car", "car", "", "", ""]


def test_the_layout_of_training_decides_where_both_readings_are_as_good():
    images = layout("bus/car", "car/bus")
    assert labels(images, meant="class") == ["bus", "bus", "car", "car"]
    assert labels(images, meant="split/class") == ["car", "car", "bus", "bus"]


@given(st.lists(st.sampled_from([*CLASSES, "x", "train", "test"]), max_size=3), st.permutations(CLASSES))
def test_folders_above_never_change_a_label(above, names):
    """As long as the folders above are the same for all images, and all classes are there."""
    images = layout(*("/".join([*above, name]) for name in names))
    assert labels(images) == [image.split("/")[-2] for image in images]


def test_training_and_predicting_read_the_same(tmp_path, save_image):
    for split in ("train", "test"):
        for name in CLASSES:
            for n in range(2):
                save_image(f"photos/{split}/{name}/{n}.png")
    trained = read_dataset(tmp_path / "photos")
    assert trained.layout == "split/class"
    predicted = read_images(tmp_path / "photos", trained.classes, layout=trained.layout)
    assert predicted.ids == trained.ids
    assert predicted.labels.tolist() == trained.labels.tolist()
    part = read_images(tmp_path / "photos" / "test", trained.classes, layout=trained.layout)
    assert [CLASSES[n] for n in part.labels] == [name.split("/")[0] for name in part.ids]


class TestNamesOfClassesElsewhere:
    @pytest.mark.parametrize("meant", ["class", "split/class", "group/class"])
    @pytest.mark.parametrize("above", ["", "bus/", "x/car/"])
    def test_batches_within_the_classes(self, meant, above):
        images = layout(*(f"{above}{name}/bus" for name in CLASSES), f"{above}car/2024")
        assert labels(images, meant=meant) == [image.split("/")[above.count("/")] for image in images]

    @pytest.mark.parametrize("batches", [("bus", "2024"), ("bus", "car", "2024")])
    def test_batches_within_one_class(self, batches):
        assert set(labels(layout(*batches), folder="car")) == {"car"}

    def test_a_split_called_like_a_class(self):
        assert labels(layout("bus", "lorry"), folder="train") == ["bus", "bus", "", ""]

    def test_chosen(self):
        images = layout("bus/car", "car/bus")
        for chosen, depth in (("class", 0), ("group/class", 1), ("class/group", 0)):
            expected = [image.split("/")[depth] for image in images]
            assert labels_in(images, "photos", CLASSES, layout="class", chosen=chosen) == expected

    def test_it_is_said(self, save_image, tmp_path):
        for place in ("bus/car/1.png", "car/bus/1.png"):
            save_image(place)
        found = read_images(tmp_path, CLASSES, layout="class")
        assert [note for note in found.notes if "say so with --layout" in note]
        assert read_images(tmp_path, CLASSES, layout="class", chosen="group/class").notes == ()

    def test_files_named_one_by_one(self, save_image, tmp_path):
        files = [save_image(f"{name}/{batch}/1.png") for name in CLASSES for batch in ("bus", "2024")]
        found = read_images(files, CLASSES)
        assert found.paths == tuple(file.as_posix() for file in files)
        assert [CLASSES[n] for n in found.labels] == [file.parent.parent.name for file in files]
