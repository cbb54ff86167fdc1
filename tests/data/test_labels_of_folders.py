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
