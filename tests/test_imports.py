"""Imports point down, heavy libraries load late, files stay short."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise

import pytest
from layers import APART, GRAPH, MODULES, ROOT, layers, prefixes, room, rooms

import sit2
from sit2.inference.predictors import PREDICTORS
from sit2.methods import METHODS

# Floors, the lowest first: a module may import those of its own room and of lower floors. Of two names that fit
# a module, the longer counts.
FLOORS = (
    ("errors", "records", "seeds", "events", "parameters"),
    ("storage",),
    ("data", "evaluation", "features", "synthesis"),
    ("confusion", "training", "trackers", "execution.executors"),
    ("methods", "inference"),
    ("config", "runtime"),
    ("report",),
    ("execution", "serve", "suggest"),
    ("experiments",),
    ("cli", "estimator"),
    ("__main__",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}

# What runs without torch and all that belongs to it: every command begins with these.
QUICK = (
    "cli.command",
    "cli.verbs",
    "config.schema",
    "config.recipe",
    "methods",
    "inference.predictors",
    "execution.executors",
    "experiments.design",
    "trackers",
    "errors",
    "events",
    "parameters",
    "",
)
# And these, which know arrays and tables; of a package every module.
LIGHT = (
    "config",
    "confusion",
    "data",
    "evaluation",
    "report",
    "storage",
    "suggest.policies",
    "records",
    "seeds",
    "inference.model_spec",
    "training.history",
    "training.augmentations",
    "training.settings",
)
TORCH = ("torch", "torchvision", "timm", "lightning_fabric")
TABLES = ("pandas", "sklearn", "scipy", "statsmodels", "PIL", "matplotlib", "joblib", "numpy")


def test_the_graph_is_not_empty():
    assert "training.loop" in GRAPH["execution.training_job"]
    assert "confusion.pairs" in GRAPH["methods.phases"]
    assert len(GRAPH) > 100
    assert len(rooms()) == len(FLOOR)


def floor(name):
    return FLOOR[next(prefix for prefix in prefixes(name) if prefix in FLOOR)]


def test_the_floors_know_every_room():
    assert rooms().keys() == FLOOR.keys()
    assert set(APART) == {name for name in FLOOR if "." in name}


@pytest.mark.parametrize("name", [n for n in MODULES if n])
def test_imports_point_down(name):
    others = {other for other in GRAPH[name] if other and room(other) != room(name)}
    wrong = {other for other in others if floor(other) >= floor(name)}
    assert not {other for other in wrong if floor(name) > 0 or floor(other) > 0}  # the ground is one room


def test_there_are_no_circles():
    # `sit2/__init__` names everything for type checkers and loads nothing.
    graph = {name: others - {""} for name, others in GRAPH.items() if name}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle
    measured = layers()
    assert sorted(name for names in measured for name in names) == sorted(FLOOR)
    assert len(measured) <= len(FLOORS)


def reached_from(*names):
    reached, todo = set(), list(names)
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += [n for n in GRAPH[name] if n and n not in reached]
    return reached


def test_the_loop_knows_neither_methods_nor_predictors():
    known = {room(name) for name in reached_from("training.loop")}
    assert known <= {"training", "synthesis", "storage", *FLOORS[0]}


def test_evaluation_knows_no_network():
    known = {room(name) for name in reached_from(*(n for n in MODULES if room(n) == "evaluation"))}
    assert known <= {"evaluation", "storage", *FLOORS[0]}


@pytest.mark.parametrize(
    ("kinds", "home"),
    [(PREDICTORS, "inference.predictors"), (METHODS, "methods")],
    ids=["predictors", "methods"],
)
def test_only_the_list_knows_each_by_name(kinds, home):
    """What a new one touches is its own file and a line in the list."""
    files = {kind.__module__.removeprefix("sit2.") for kind in kinds.values()}
    assert files < MODULES.keys()
    for name, others in GRAPH.items():
        if not name.startswith(home):
            assert not others & files, name


def loaded(names, heavy):
    """Return which heavy modules are loaded after each of some modules, by the first that loads one."""
    code = (
        "import importlib, sys\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        f"    found = [heavy for heavy in {list(heavy)} if heavy in sys.modules]\n"
        "    if found:\n        sys.exit(f'{name} loads {found}')"
    )
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr


@pytest.mark.parametrize("name", QUICK)
def test_is_imported_at_once(name):
    assert loaded([f"sit2.{name}".removesuffix(".")], (*TORCH, *TABLES)) == ""


@pytest.mark.parametrize("name", LIGHT)
def test_is_imported_without_torch(name):
    names = [f"sit2.{n}" for n in MODULES if n == name or n.startswith(name + ".")]
    assert names
    assert loaded(names, TORCH) == ""


def test_predicting_loads_no_more_than_it_needs():
    heavy = [
        "timm",
        "torchvision",
        "lightning_fabric",
        "sklearn",
        "statsmodels",
        "matplotlib",
        "sit2.experiments",
    ]
    assert loaded(["sit2.inference.prediction"], heavy) == ""


def test_an_exported_model_needs_neither_torch_nor_tables():
    heavy = [*TORCH, *(name for name in TABLES if name not in ("PIL", "numpy"))]
    assert (
        loaded(
            ["sit2.runtime", "sit2.inference.model_and_images", "sit2.inference.predictions_writer"], heavy
        )
        == ""
    )


def test_help_is_quick_because_it_loads_nothing_heavy():
    code = (
        "import sys\nfrom sit2.cli.command import main\n"
        "try:\n    main(['train', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "print(heavy, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr.strip() == "set()"
    assert "--image-size" in done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_no_file_is_long(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 350


def test_there_are_few_modules_at_the_top():
    assert len(list(ROOT.glob("*.py"))) <= 8


def test_what_is_exported():
    assert sit2.__all__ == [
        "train",
        "Run",
        "compare",
        "Comparison",
        "load",
        "Model",
        "SIT2Classifier",
        "select_pairs",
        "ClassPair",
        "NotSureMixer",
        "Mixed",
        "Sit2Error",
        "ConfigError",
        "DataError",
        "RunFolderError",
        "ModelError",
        "TrainingError",
    ]
    assert set(dir(sit2)) == {*sit2.__all__, "__version__"}
    assert sit2._HOMES.keys() == set(sit2.__all__)


@pytest.mark.parametrize("name", sit2.__all__)
def test_every_name_is_there(name):
    made = getattr(sit2, name)
    assert made.__name__ == name
    assert made.__module__ == sit2._HOMES[name]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sit2' has no attribute 'mixer'"):
        _ = sit2.mixer


def test_type_checkers_see_the_same_names():
    tree = ast.parse(MODULES[""].read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == sit2._HOMES


def test_errors_are_one_tree():
    for name in ("ConfigError", "DataError", "RunFolderError", "ModelError", "TrainingError"):
        assert all(issubclass(a, b) for a, b in pairwise([getattr(sit2, name), sit2.Sit2Error, Exception]))
