"""Many recipes: what trains alike is trained once, what is finished is kept, wherever it runs."""

import dataclasses
import json

import numpy as np
import pytest
from jobs import make_job, part_of, pixels, run, run_one, timeless, weights

from sit2.config.schema import make_config
from sit2.errors import TrainingError
from sit2.events import EpochEnded, Note, Progress, TrainingBegan, TrainingEnded, nobody
from sit2.execution import runner
from sit2.execution.executors.processes import ProcessExecutor
from sit2.execution.executors.serial import SerialExecutor
from sit2.execution.outcomes import load_outcome, save_outcome
from sit2.execution.recipe_job import RecipeJob
from sit2.execution.runner import make_executor, plan_workers
from sit2.execution.trained import load_trained
from sit2.training.backbones import Network
from sit2.training.loop import Training

QUICK = {"epochs": 0.6}  # two steps
EVERYWHERE = pytest.mark.parametrize(("workers", "executor"), [(1, "joblib"), (2, "serial"), (2, "joblib")])


def some_jobs(*recipes, **more):
    return [make_job(name, **QUICK, **more) for name in recipes or ("plain", "mixup", "multi-label@all")]


def same_answers(one, other):
    return np.array_equal(one.probabilities, other.probabilities) and np.array_equal(
        one.validation, other.validation
    )


@pytest.fixture
def trainings(monkeypatch):
    """The names of the trainings that really run, in this process."""
    ran, train = [], Training.run
    monkeypatch.setattr(Training, "run", lambda one: (ran.append(one.name), train(one))[1])
    return ran


class TestOutcomes:
    @EVERYWHERE
    def test_come_in_the_order_of_the_jobs(self, workers, executor, tmp_path):
        jobs = some_jobs("plain", "mixup", "multi-label@all", "plain+tta")
        outcomes = run(jobs, tmp_path / "all", workers=workers, executor=executor)
        for n, job in enumerate(jobs):
            alone = run_one(job, tmp_path / str(n))
            assert same_answers(outcomes[n], alone)
            one, other = (timeless(o.histories[0]) for o in (outcomes[n], alone))
            assert [dataclasses.replace(row, name="") for row in one] == [
                dataclasses.replace(row, name="") for row in other
            ]

    @EVERYWHERE
    def test_each_is_told_as_soon_as_it_is_there(self, workers, executor, tmp_path):
        told = []
        outcomes = run(
            some_jobs("plain", "mixup", "plain"),
            tmp_path,
            workers=workers,
            executor=executor,
            done=lambda index, outcome: told.append((index, outcome)),
        )
        assert sorted(index for index, _ in told) == [0, 1, 2]
        assert all(outcomes[index] is outcome for index, outcome in told)

    def test_nothing_to_do(self, tmp_path):
        assert run([], tmp_path) == []

    def test_jobs_of_one_key_are_made_once(self, tmp_path, trainings):
        answered = []
        jobs = some_jobs("plain+tta+temperature", "plain+temperature+tta", "plain+tta+temperature")
        outcomes = run(jobs, tmp_path, done=lambda index, _: answered.append(index))
        assert len(trainings) == 1
        assert answered == [0, 1, 2]
        assert outcomes[0] is outcomes[1] is outcomes[2]

    def test_data_that_is_a_copy_of_other_data_is_answered_once(self, tmp_path, trainings):
        """Two stores of equal images, as `compare A B` has them where B is a copy of A."""
        jobs = [*some_jobs("plain", images=pixels()), *some_jobs("plain", images=pixels().copy())]
        one, other = run(jobs, tmp_path)
        assert one is other
        assert len(trainings) == 1


class TestSharing:
    @EVERYWHERE
    def test_recipes_that_train_alike_share_a_network(self, workers, executor, tmp_path, monkeypatch):
        """The bits of each are those of a training of its own."""
        names = ("plain", "plain+tta", "plain@random+tta+ensemble+pairwise", "mixup", "mixup+temperature")
        jobs, steps = some_jobs(*names), []
        if (workers, executor) != (2, "joblib"):
            step = Network.forward
            monkeypatch.setattr(
                Network, "forward", lambda net, x: (net.training and steps.append(0), step(net, x))[1]
            )
        outcomes = run(jobs, tmp_path / "shared", workers=workers, executor=executor)
        assert len(list((tmp_path / "shared" / "networks").iterdir())) == 2
        assert len(steps) == (
            0 if (workers, executor) == (2, "joblib") else 2 * 2
        )  # two trainings of two steps
        for n, (job, outcome) in enumerate(zip(jobs, outcomes, strict=True)):
            assert same_answers(run_one(job, tmp_path / str(n)), outcome)
        assert not np.array_equal(outcomes[0].probabilities, outcomes[2].probabilities)

    def test_every_method_that_is_trained_is_trained_once(self, tmp_path, trainings):
        run(some_jobs("plain+tta", "not-sure", "plain", "not-sure+temperature", "not-sure@random"), tmp_path)
        assert sorted(trainings) == ["not-sure", "not-sure@random", "plain"]

    def test_a_network_that_is_there_is_used_by_jobs_that_come_later(self, tmp_path, trainings):
        heard = []
        run(some_jobs("plain"), tmp_path)
        late = make_job("plain+ensemble", **QUICK, ensemble_weight=0.0)
        (outcome,) = run([late], tmp_path, listener=heard.append)
        assert trainings == ["plain"]
        assert TrainingEnded("plain", found=True) in heard
        assert (tmp_path / "networks" / f"{late.trainings[0].key}.network").exists()
        assert same_answers(outcome, run_one(late, tmp_path / "elsewhere"))
        assert trainings == ["plain", "plain"]

    def test_what_is_trained_differently_is_not_shared(self, tmp_path, trainings):
        jobs = [
            make_job("plain", **QUICK),
            make_job("plain+tta", **QUICK, lr=0.02),
            make_job("plain+tta", **QUICK, seed=1),
            make_job("plain+tta", **QUICK, train=part_of(np.arange(22))),
            make_job("plain-restart+tta", **QUICK),
        ]
        run(jobs, tmp_path)
        assert len(trainings) == len(list((tmp_path / "networks").iterdir())) == 5


class TestKept:
    def test_in_two_files_each(self, tmp_path):
        run(some_jobs(), tmp_path, keep=tmp_path / "cells")
        assert sorted(path.suffix for path in (tmp_path / "cells").iterdir()) == [".json"] * 3 + [".npz"] * 3

    def test_what_is_finished_is_not_made_again(self, tmp_path, trainings):
        first = run(some_jobs("plain", "mixup+tta"), tmp_path, keep=tmp_path / "cells")
        again = run(
            some_jobs("plain", "mixup+tta", "multi-label@all"), tmp_path / "new", keep=tmp_path / "cells"
        )
        assert trainings == ["plain", "mixup", "multi-label@all"]
        for before, after in zip(first, again, strict=False):
            assert same_answers(before, after)
            arrays = {"answers": None, "validation": None}
            assert timeless(before.histories[0]) == timeless(after.histories[0])
            one, other = (dataclasses.replace(o, histories=(), notes=(), **arrays) for o in (before, after))
            assert one == other
        assert not np.array_equal(again[0].probabilities, again[2].probabilities)

    def test_an_outcome_comes_back_as_it_was(self, tmp_path):
        job = make_job("plain+tta", **QUICK)
        outcome = dataclasses.replace(
            run_one(job, tmp_path), chosen={"lr": 0.1}, notes=("something happened",)
        )
        save_outcome(tmp_path, "name", outcome)
        back = load_outcome(tmp_path, "name")
        assert same_answers(back, outcome)
        assert [list(h) for h in back.histories] == [list(h) for h in outcome.histories]
        assert (back.budget, back.seconds, back.chosen, list(back.notes)) == (
            *(outcome.budget, outcome.seconds),
            *({"lr": 0.1}, ["something happened"]),
        )
        assert load_outcome(tmp_path, "other") is None
        assert load_outcome(None, "name") is None

    def test_a_damaged_outcome_is_made_again_and_said(self, tmp_path, trainings):
        job, heard = make_job("plain", **QUICK), []
        first = run_one(job, tmp_path, keep=tmp_path / "cells")
        (tmp_path / "cells" / f"{job.key}.npz").write_bytes(b"odd")
        again = run_one(job, tmp_path, keep=tmp_path / "cells", listener=heard.append)
        assert same_answers(first, again)
        assert trainings == ["plain"]  # its network was whole
        assert f"what was kept as {tmp_path / 'cells' / job.key} is damaged: it is made again" in [
            event.text for event in heard if isinstance(event, Note)
        ]

    def test_a_model_that_is_asked_for_and_not_there_is_written(self, tmp_path, trainings):
        run(some_jobs("plain+tta"), tmp_path, keep=tmp_path / "cells")
        (job,) = some_jobs("plain+tta", save_to=tmp_path / "model")
        run_one(job, tmp_path, keep=tmp_path / "cells")
        assert (tmp_path / "model" / "model.json").exists()
        assert trainings == ["plain"]

    def test_nothing_to_keep(self, tmp_path):
        outcome = run_one(make_job("plain", **QUICK), tmp_path, workers=2)
        assert outcome.budget == 14
        assert [path.name for path in tmp_path.iterdir()] == ["networks"]


class TestExecutors:
    def test_other_processes_give_the_same_bits(self, tmp_path):
        def of(workers):
            folder = tmp_path / str(workers)
            names = ("plain+tta+ensemble+temperature", "mixup", "multi-label@all+pairwise", "plain*2")
            jobs = [make_job(name, **QUICK, save_to=folder / name) for name in names]
            outcomes = run(jobs, folder, workers=workers, keep=folder / "cells")
            models = [(weights(folder / name), (folder / name / "model.json").read_bytes()) for name in names]
            return outcomes, models

        (inline, saved), (elsewhere, saved_elsewhere) = of(1), of(2)
        for one, other in zip(inline, elsewhere, strict=True):
            assert same_answers(one, other)
            assert [timeless(h) for h in one.histories] == [timeless(h) for h in other.histories]
        assert saved == saved_elsewhere

    @EVERYWHERE
    def test_all_events_arrive(self, workers, executor, tmp_path):
        heard, jobs = [], some_jobs("plain", "multi-label", "plain+tta")
        outcomes = run(jobs, tmp_path, workers=workers, executor=executor, listener=heard.append)
        for outcome in outcomes[:2]:
            name = outcome.histories[0][0].name
            own = [event for event in heard if getattr(event, "name", None) == name]
            assert own[0] == TrainingBegan(name, name, 2, 7)
            assert own[1:-1] == list(outcome.histories[0])
            assert own[-1] == TrainingEnded(name, found=False)
        assert sum(isinstance(event, EpochEnded) for event in heard) == 3  # of the shared network once

    @EVERYWHERE
    def test_progress_only_grows_and_ends(self, workers, executor, tmp_path):
        heard = []
        run(
            [make_job(name) for name in ("plain", "mixup")],
            tmp_path,
            workers=workers,
            executor=executor,
            listener=heard.append,
            title="Folds",
        )
        progress = [event for event in heard if isinstance(event, Progress)]
        fractions = [event.fraction for event in progress]
        assert {event.title for event in progress} == {"Folds"}
        assert fractions == sorted(fractions)
        assert 0 < fractions[0] < 0.5
        assert fractions[-2:] == [1.0, 1.0]
        assert all(event.words.startswith("loss ") for event in progress[:-1])

    def test_progress_of_a_tuned_training_only_grows(self, tmp_path):
        heard = []
        run([make_job("plain", trials=3, **QUICK)], tmp_path, listener=heard.append)
        fractions = [event.fraction for event in heard if isinstance(event, Progress)]
        assert fractions == sorted(fractions)
        assert fractions == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])

    @EVERYWHERE
    def test_a_training_that_fails_is_told_as_it_is(self, workers, executor, tmp_path):
        jobs = [make_job("plain", **QUICK), make_job("plain+tta", lr=1e30, epochs=6)]
        with pytest.raises(
            TrainingError, match=r"^plain: the loss became nan in phase 'train' at step 2 of 20"
        ):
            run(jobs, tmp_path, workers=workers, executor=executor, keep=tmp_path / "cells")
        if workers == 1:  # what was finished before is kept
            assert load_outcome(tmp_path / "cells", jobs[0].key) is not None
        assert load_outcome(tmp_path / "cells", jobs[1].key) is None
        run(jobs[:1], tmp_path, workers=workers, executor=executor, keep=tmp_path / "cells")

    def test_an_interruption_keeps_what_was_finished(self, tmp_path, trainings):
        jobs = some_jobs("plain", "mixup")

        def interrupt(event):
            if isinstance(event, TrainingBegan) and event.method == "mixup":
                raise KeyboardInterrupt

        aborted = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SerialExecutor, "abort", lambda _: aborted.append(1))
            with pytest.raises(KeyboardInterrupt):
                run(jobs, tmp_path, keep=tmp_path / "cells", listener=interrupt)
        assert aborted == [1]
        assert load_outcome(tmp_path / "cells", jobs[0].key) is not None
        outcomes = run(jobs, tmp_path, keep=tmp_path / "cells")
        assert trainings == ["plain", "mixup", "mixup"]
        assert same_answers(outcomes[1], run_one(jobs[1], tmp_path / "whole"))

    def test_notes_of_trainings_are_told(self, tmp_path, monkeypatch):
        run_recipe = RecipeJob._run
        monkeypatch.setattr(
            RecipeJob, "_run", lambda job: dataclasses.replace(run_recipe(job), notes=("it was odd",))
        )
        heard = []
        run(some_jobs("plain"), tmp_path, listener=heard.append)
        assert Note("it was odd") in heard

    def test_pixels_go_to_other_processes_in_one_file(self, tmp_path, monkeypatch):
        written, share = [], ProcessExecutor.share

        def spy(self, store, scratch):
            shared = share(self, store, scratch)
            written.append(shared.path)
            return shared

        monkeypatch.setattr(ProcessExecutor, "share", spy)
        store = make_job().trainings[0].store
        run(some_jobs("plain", "mixup", store=store), tmp_path, workers=2)
        (path,) = written
        assert not path.exists()  # it went with the run


class TestPlan:
    @pytest.mark.parametrize(
        ("cores", "workers", "threads", "jobs", "processes"),
        [
            (8, 0, 1, 5, 5),
            (8, 0, 1, 100, 8),
            (8, 3, 1, 100, 3),
            (8, 0, 4, 100, 2),
            (2, 0, 4, 9, 1),
            (2, 7, 1, 9, 7),
        ],
    )
    def test_workers(self, cores, workers, threads, jobs, processes, monkeypatch):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)), raising=False)
        config = make_config({"device": "cpu", "workers": workers, "threads": threads})
        assert plan_workers(config, jobs) == processes

    def test_an_accelerator_takes_one_at_a_time(self, monkeypatch):
        monkeypatch.setattr(runner, "pick_device", lambda _: "cuda")
        assert plan_workers(make_config({"workers": 5}), 9) == 1

    @pytest.mark.parametrize(
        ("settings", "jobs", "kind"),
        [
            ({"workers": 2}, 5, ProcessExecutor),
            ({"workers": 2}, 1, SerialExecutor),
            ({"workers": 1}, 5, SerialExecutor),
            ({"workers": 2, "executor": "serial"}, 5, SerialExecutor),
        ],
    )
    def test_executor(self, settings, jobs, kind):
        with make_executor(make_config({"device": "cpu"}, settings), jobs, nobody) as executor:
            assert type(executor) is kind


def test_what_is_kept_can_be_read_without_this_program(tmp_path):
    job = make_job("multi-label", **QUICK)
    run_one(job, tmp_path, keep=tmp_path / "cells")
    content = json.loads((tmp_path / "cells" / f"{job.key}.json").read_text())
    assert set(content) == {"budget", "seconds", "histories", "chosen", "notes"}
    assert content["histories"][0][0]["phase"] == "pretrain"
    with np.load(tmp_path / "cells" / f"{job.key}.npz") as arrays:
        assert arrays["probabilities"].shape == (11, 3)
        assert arrays["validation"].shape == (8, 3)
    assert load_trained(tmp_path / "networks" / f"{job.trainings[0].key}.network").budget == 14
