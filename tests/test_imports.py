"""Imports point down, heavy libraries load late, files stay short."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from itertools import pairwise
from pathlib import Path

import pytest

import sit2

ROOT = Path(sit2.__file__).parent

# Floors, the lowest first: a module may import those of its own room and of lower floors.
FLOORS = (
    ("errors", "records", "seeds", "parameters"),
    ("storage",),
    ("config",),
    ("evaluation", "data"),
    ("confusion", "features"),
    ("synthesis",),
    ("training",),
    ("methods",),
    ("inference",),
    ("report",),
    ("execution",),
    ("experiments",),
    ("accidents", "estimator", "cli"),
    ("__main__",),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
# Known trespasses, each to be removed: the test fails as soon as one is gone and still listed here.
TRESPASSES: set[tuple[str, str]] = {
    ("cli.command", "accidents"),
    ("config.schema", "data.decoding.window"),
    ("estimator", "cli.screen"),
    ("execution.pool", "cli.screen"),
    ("experiments.comparison", "cli.screen"),
    ("experiments.grid", "cli.screen"),
    ("experiments.run", "cli.screen"),
    ("experiments.stages", "cli.screen"),
    ("inference.prediction", "cli.run_tables"),
    ("inference.prediction", "cli.screen"),
    ("parameters", "storage.untrusted"),
}

# What runs without torch: the first two are what every command starts with.
LIGHT = (
    "sit2",
    "sit2.cli.command",
    "sit2.config.schema",
    "sit2.errors",
    "sit2.storage.escaping",
    "sit2.storage.untrusted",
    "sit2.storage.lock",
    "sit2.accidents",
    "sit2.storage.files",
    "sit2.storage.run_folder",
    "sit2.records",
    "sit2.seeds",
    "sit2.data.decoding.window",
    "sit2.confusion.out_of_fold",
    "sit2.confusion.pairs",
    "sit2.confusion.pairs_file",
    "sit2.evaluation.statistics",
    "sit2.evaluation.metrics",
    "sit2.evaluation.bootstrap",
    "sit2.evaluation.words",
    "sit2.evaluation.repeated",
    "sit2.evaluation.ranks",
    "sit2.evaluation.verdicts",
    "sit2.report.ranks",
    "sit2.report.charts",
    "sit2.report.data",
    "sit2.report.page",
)


def modules():
    """Each module's dotted name below sit2, and its file."""
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


MODULES = dict(modules())


def imports(file):
    """The modules below sit2 that a file imports, anywhere in it, type checking included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            below = name.removeprefix("sit2.")
            if name.startswith("sit2.") and below in MODULES:
                yield below


GRAPH = {name: set(imports(file)) - {name} for name, file in MODULES.items()}


def room(name):
    return name.split(".")[0]


def test_the_graph_is_not_empty():
    assert "training.loop" in GRAPH["execution.job"]
    assert "confusion.pairs" in GRAPH["methods"]
    assert len(GRAPH) > 40


@pytest.mark.parametrize("name", [n for n in MODULES if n])
def test_imports_point_down(name):
    floor, own = FLOOR[room(name)], room(name)
    wrong = {
        (name, other) for other in GRAPH[name] if other and room(other) != own and FLOOR[room(other)] >= floor
    }
    ground = floor == 0
    assert {w for w in wrong if not ground or FLOOR[room(w[1])] > 0} == {
        t for t in TRESPASSES if t[0] == name
    }


def test_there_are_no_circles():
    # `sit2/__init__` names everything for type checkers and loads nothing.
    graph = {name: others - {""} for name, others in GRAPH.items() if name}
    TopologicalSorter(graph).prepare()  # raises CycleError, with the circle


def test_the_loop_knows_no_method():
    reached, todo = set(), ["training.loop"]
    while todo:
        name = todo.pop()
        reached.add(name)
        todo += [n for n in GRAPH[name] if n not in reached]
    assert not {n for n in reached if room(n) == "methods"}


@pytest.mark.parametrize("name", [n for n in LIGHT if n.removeprefix("sit2.") in MODULES or n == "sit2"])
def test_is_imported_without_torch(name):
    heavy = ["torch", "torchvision", "timm", "lightning_fabric"]
    if name in {"sit2", "sit2.cli.command"}:
        heavy += ["pandas", "sklearn", "scipy", "statsmodels", "PIL"]
    code = f"import sys, {name}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_predicting_loads_no_more_than_it_needs():
    heavy = [
        "timm",
        "torchvision",
        "lightning_fabric",
        "sklearn",
        "statsmodels",
        "matplotlib",
        "sit2.experiments.stages",
    ]
    code = f"import sys, sit2.inference.prediction; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


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


def test_what_is_exported():
    assert sit2.__all__ == [
        "train",
        "Run",
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
