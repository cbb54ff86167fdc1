"""From networks to answers: members, predictors, what is answered, and what may not be looked at."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs import (
    LABELS,
    PREDICT,
    SETTINGS,
    TRAIN,
    VAL,
    make_job,
    part_of,
    pixels,
    run,
    run_one,
    timeless,
    weights,
)
from made_run import epochs
from safetensors.torch import save_file

from sit2.config.schema import make_config
from sit2.errors import TrainingError
from sit2.events import EpochEnded, Progress, TrainingEnded
from sit2.execution.recipe_job import Evaluated
from sit2.execution.runner import train_here
from sit2.execution.trained import load_trained
from sit2.execution.training_job import load_finished
from sit2.experiments.planning import of_refit
from sit2.inference.asked_network import Members
from sit2.inference.model import Model
from sit2.inference.predictors.predictor import Known
from sit2.records import ClassPair
from sit2.training.backbones import Network, build_network
from sit2.training.loop import Training

DEFAULT = "plain+tta+ensemble+temperature"
QUICK = {"epochs": 0.6}  # two steps


def trained(job, folder):
    """The job with its networks trained into a folder."""
    places = [
        dataclasses.replace(one, network=folder / f"{n}.network") for n, one in enumerate(job.trainings)
    ]
    for one in places:
        one.run()
    return dataclasses.replace(job, trainings=tuple(places))


class TestOutcome:
    @pytest.mark.parametrize("recipe", ["multi-label", DEFAULT, "not-sure@random+tta+pairwise"])
    def test_what_one_recipe_leaves_behind(self, recipe, tmp_path):
        job = make_job(recipe, save_to=tmp_path / "model")
        outcome = run_one(job, tmp_path)
        for answers, count in ((outcome.probabilities, 11), (outcome.validation, 8)):
            assert answers.shape == (count, 3)
            np.testing.assert_allclose(answers.sum(axis=1), 1)
        assert outcome.budget == 70
        assert outcome.seconds > 0
        assert [len(history) for history in outcome.histories] == [4]
        assert (outcome.chosen, list(outcome.notes)) == ({}, [])
        loaded = Model.load(tmp_path / "model")
        assert loaded.spec.recipe == recipe
        assert [name for name, _ in loaded.spec.predictors] == list(job.recipe.predictors)
        given = loaded.probabilities(job.trainings[0].store.images, PREDICT, fixed_batch=True)
        assert np.array_equal(given, outcome.probabilities)

    def test_a_job_may_predict_nothing(self, tmp_path):
        job = make_job("plain+tta", predict=part_of(PREDICT[:0]), **QUICK)
        outcome = run_one(job, tmp_path)
        assert outcome.probabilities.shape == (0, 3)
        assert outcome.validation.shape == (8, 3)

    def test_a_job_may_have_no_validation_images(self, tmp_path):
        job = make_job(DEFAULT, val=part_of(VAL[:0]), **QUICK)
        outcome = run_one(job, tmp_path)
        assert outcome.probabilities.shape == (11, 3)
        assert outcome.validation.shape == (0, 3)

    def test_without_predictors_it_is_the_network(self, tmp_path):
        job = trained(make_job("plain", **QUICK), tmp_path)
        outcome = job.run()
        (training,) = job.trainings
        alone = Model(training.spec, load_finished(training)[1])
        for rows, answers in ((PREDICT, outcome.probabilities), (VAL, outcome.validation)):
            expected = alone.probabilities(training.store.images, rows, fixed_batch=True)
            assert np.array_equal(answers, expected)

    def test_other_images_to_predict_change_no_weights_and_no_answer(self, tmp_path):
        whole = run_one(make_job(DEFAULT, save_to=tmp_path / "a", **QUICK), tmp_path / "1")
        job = make_job(DEFAULT, save_to=tmp_path / "b", predict=part_of(PREDICT[3:5]), **QUICK)
        less = run_one(job, tmp_path / "2")
        assert weights(tmp_path / "a") == weights(tmp_path / "b")
        assert np.array_equal(less.probabilities, whole.probabilities[3:5])
        assert np.array_equal(less.validation, whole.validation)

    def test_answers_that_are_not_finite_are_refused(self, tmp_path):
        job = make_job(
            "plain", lr=1e38, epochs=0.01, warmup=0.0, val=part_of(VAL[:0]), save_to=tmp_path / "model"
        )
        with pytest.raises(TrainingError) as error:
            run_one(job, tmp_path)
        assert str(error.value) == (
            "plain: the trained network's probabilities are not finite\n"
            "this was the second attempt, at 0.1 of the learning rate; expected a finite loss; lower --lr"
        )
        assert not (tmp_path / "model").exists()

    def test_trained_here_it_is_the_same_model(self, tmp_path):
        job = make_job(DEFAULT, **QUICK)
        outcome, model = run_one(job, tmp_path), train_here(job)
        given = model.probabilities(job.trainings[0].store.images, PREDICT, fixed_batch=True)
        assert np.array_equal(given, outcome.probabilities)


class TestKey:
    """What else it changes with is tested with the grid, see tests/experiments/test_grid.py."""

    def test_recipes_that_answer_alike_have_one(self):
        one = make_job("plain+temperature+tta")
        assert make_job("plain+tta+temperature", name="again: ", save_to=Path("elsewhere")).key == one.key
        assert make_job("plain+tta").key != one.key

    def test_changes_with_the_settings_of_its_own_predictors_alone(self):
        for recipe, alike in (("plain+ensemble", False), ("plain+tta", True)):
            keys = {make_job(recipe, ensemble_weight=weight).key for weight in (None, 0.5)}
            assert len(keys) == (1 if alike else 2)

    def test_changes_with_groups_where_predictors_see_them(self):
        groups = tuple(str(n // 2) for n in range(8))
        for recipe, alike in (("plain", True), ("plain+temperature", False)):
            keys = {make_job(recipe, val=part_of(VAL, groups=g)).key for g in ((), groups)}
            assert len(keys) == (1 if alike else 2)

    def test_changes_with_pairs_where_something_uses_them(self):
        chosen = (ClassPair(0, 2, "ant", "cat", 0.2, 0.1, 0.3, 2.0, 9, True),)
        for recipe, alike in (("plain+tta", True), ("plain+pairwise", False), ("not-sure", False)):
            assert (make_job(recipe).key == make_job(recipe, chosen=chosen).key) == alike

    def test_members_change_it(self):
        assert make_job("plain*2").key not in (make_job("plain").key, make_job("plain*3").key)


class TestIsolation:
    """Predictors see training images to learn from, and validation images to be fitted to, and nothing else."""

    def fitted(self, **inputs):
        """What an ensemble and a temperature are fitted to."""
        model = train_here(make_job(DEFAULT, **QUICK, **inputs))
        _, ensemble, temperature = model.predictors
        return ensemble.weight, ensemble.inverse_temperature, temperature.inverse_temperature

    def labels_without(self, rows):
        other = (LABELS + 1) % 3
        return np.where(np.isin(np.arange(47), rows), other, LABELS)

    def test_they_are_fitted_to_the_validation_images_alone(self):
        fitted = self.fitted()
        assert self.fitted(labels=self.labels_without(PREDICT)) == fitted
        assert self.fitted(labels=self.labels_without(VAL)) != fitted

    def test_images_to_predict_are_not_looked_at(self):
        images = pixels()
        images[PREDICT] = np.random.default_rng(9).integers(0, 256, images[PREDICT].shape)
        assert self.fitted(images=images) == self.fitted()

    def test_without_validation_images_they_are_as_usual(self):
        assert self.fitted(val=part_of(VAL[:0])) == (0.3, 1.0, 1.0)

    def test_a_weight_that_is_given_is_kept(self):
        weight, inverse_temperature, temperature = self.fitted(ensemble_weight=0.45)
        assert (weight, inverse_temperature) == (0.45, 1.0)
        assert temperature != 1

    def test_a_validation_image_is_answered_for_without_its_own_label(self, tmp_path):
        """Nor that of its group: the run's figures of validation images can be chosen by."""
        job = make_job(DEFAULT, val=part_of(VAL, groups=[str(n // 2) for n in range(8)]), **QUICK)
        before = run_one(job, tmp_path)
        changed_labels = self.labels_without(VAL[2:4])
        after = run_one(
            make_job(
                DEFAULT,
                labels=changed_labels,
                val=part_of(VAL, changed_labels, [str(n // 2) for n in range(8)]),
                **QUICK,
            ),
            tmp_path,
        )
        assert np.array_equal(after.validation[2:4], before.validation[2:4])
        assert not np.array_equal(after.validation, before.validation)

    def test_predictors_learn_from_the_training_images_and_the_recipes_pairs(self, monkeypatch):
        from sit2.inference.predictors.pairwise import Pairwise

        seen, learn = [], Pairwise.learn

        def spy(self, known: Known):
            seen.append(known)
            return learn(self, known)

        monkeypatch.setattr(Pairwise, "learn", spy)
        job = make_job("plain@random+tta+pairwise", augment="dihedral", **QUICK)
        train_here(job)
        (known,) = seen
        (training,) = job.trainings
        assert np.array_equal(known.rows, training.train.rows)
        assert np.array_equal(known.labels, LABELS[training.train.rows])
        assert known.augmentation.dihedral
        assert len(known.pairs) == 2
        assert training.pairs == ()  # plain training mixes none
        assert [(p.a, p.b) for p in known.pairs] == [(p.a, p.b) for p in job.pairs]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A file of weights that trainings may start from."""
    network = build_network("small-cnn", channels=3, image_size=16, outputs=3, seed=9)
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_file({k: v.contiguous() for k, v in network.encoder.state_dict().items()}, path)
    return path


class TestMembers:
    def test_are_trainings_that_differ_by_seed(self):
        job = make_job("plain*3")
        assert len({one.key for one in job.trainings}) == 3
        assert len({one.name for one in job.trainings}) == 3
        assert {one.training for one in job.trainings} == {"plain*3"}
        assert job.trainings[0].key == make_job("plain").trainings[0].key

    def test_train_with_the_same_pairs(self):
        for recipe in ("not-sure@random*2", "not-sure*2"):
            one, other = make_job(recipe).trainings
            assert one.pairs == other.pairs != ()

    def test_from_one_start_their_weights_are_averaged(self, start, tmp_path):
        """One network at prediction, whose statistics of batch normalisation are averaged too."""
        job = trained(make_job("plain*2", weights=start, save_to=tmp_path / "model"), tmp_path)
        outcome = job.run()
        loaded = Model.load(tmp_path / "model")
        assert isinstance(loaded.network, Network)
        assert loaded.spec.networks == 1
        one, other = (load_finished(t)[1].state_dict() for t in job.trainings)
        assert not torch.equal(one["head.weight"], other["head.weight"])
        for name, value in loaded.network.state_dict().items():
            expected = (one[name] + other[name]) / 2 if value.is_floating_point() else one[name]
            torch.testing.assert_close(value, expected)
        given = loaded.probabilities(pixels(), PREDICT, fixed_batch=True)
        assert np.array_equal(given, outcome.probabilities)

    def test_members_of_several_methods_are_those_methods_networks_averaged(self, start, tmp_path):
        job = trained(make_job("plain/multi-label", weights=start, **QUICK), tmp_path)
        for one, alone in zip(job.trainings, ("plain", "multi-label"), strict=True):
            assert (
                one.key == make_job(alone, weights=start, **QUICK).trainings[0].key
            )  # found where it is there
        made = job.model()[1].network.state_dict()
        parts = [load_finished(one)[1].state_dict() for one in job.trainings]
        assert not torch.equal(parts[0]["head.weight"], parts[1]["head.weight"])
        for name, value in made.items():
            if value.is_floating_point():
                torch.testing.assert_close(value, (parts[0][name] + parts[1][name]) / 2)

    def test_from_chance_their_answers_are_averaged(self, tmp_path):
        job = trained(make_job("plain*2", save_to=tmp_path / "model"), tmp_path)
        outcome = job.run()
        loaded = Model.load(tmp_path / "model")
        assert isinstance(loaded.network, Members)
        assert loaded.spec.networks == 2
        alone = [
            Model(t.spec, load_finished(t)[1]).probabilities(pixels(), PREDICT, fixed_batch=True)
            for t in job.trainings
        ]
        assert not np.allclose(*alone)
        np.testing.assert_allclose(outcome.probabilities, np.mean(alone, axis=0), atol=1e-6)
        assert np.array_equal(
            loaded.probabilities(pixels(), PREDICT, fixed_batch=True), outcome.probabilities
        )

    @pytest.mark.parametrize("common", [False, True])
    def test_predictors_come_after_all_of_them(self, common, start, tmp_path):
        settings = {**QUICK, **({"weights": start} if common else {})}
        job = trained(make_job(f"{DEFAULT.replace('plain', 'plain*2')}", **settings), tmp_path)
        _, model, _ = job.model()
        plain = dataclasses.replace(model, predictors=())
        first = torch.from_numpy(plain.probabilities(pixels(), PREDICT)).log()
        mirrored = torch.from_numpy(plain.probabilities(pixels()[..., ::-1], PREDICT)).log()
        _, ensemble, temperature = model.predictors
        other = ensemble.classifier(torch.from_numpy(pixels()[PREDICT]).float() / 255)
        pooled = torch.lerp((first + mirrored).mul(0.5).log_softmax(dim=1), other, ensemble.weight)
        pooled = (pooled * ensemble.inverse_temperature).log_softmax(dim=1)
        expected = (pooled * temperature.inverse_temperature).softmax(dim=1)
        np.testing.assert_allclose(model.probabilities(pixels(), PREDICT), expected, atol=1e-5)

    def test_the_budget_counts_all_of_them(self, tmp_path):
        job = make_job("plain*3", **QUICK)
        outcome = run_one(job, tmp_path)
        assert outcome.budget == 3 * 14
        assert len(outcome.histories) == 3
        assert {row.name for history in outcome.histories for row in history} == {
            one.name for one in job.trainings
        }
        alone = run_one(make_job("plain", **QUICK), tmp_path / "alone")
        assert outcome.histories[0][0].loss == alone.histories[0][0].loss

    def test_the_first_one_is_shared_with_the_method_alone(self, tmp_path, monkeypatch):
        ran, train = [], Training.run
        monkeypatch.setattr(Training, "run", lambda one: (ran.append(one.name), train(one))[1])
        run([make_job("plain", **QUICK), make_job("plain*2", **QUICK)], tmp_path)
        assert ran == ["plain", "plain*2 (2 of 2)"]

    def test_notes_of_every_member_are_kept(self, tmp_path):
        job = trained(make_job("plain*2", **QUICK), tmp_path)
        for n, one in enumerate(job.trainings):
            found = load_trained(one.network)
            dataclasses.replace(found, notes=[f"note {n}"]).save(one.network, load_finished(one)[1])
        assert list(job.run().notes) == ["note 0", "note 1"]


def test_the_same_twice_to_the_bit(tmp_path):
    outcomes = []
    for name in ("a", "b"):
        torch.manual_seed(len(outcomes))
        job = make_job(
            "multi-label@random*2+tta+ensemble+pairwise+temperature", save_to=tmp_path / name, **QUICK
        )
        outcomes.append(run_one(job, tmp_path / f"networks of {name}"))
    assert np.array_equal(outcomes[0].probabilities, outcomes[1].probabilities)
    assert np.array_equal(outcomes[0].validation, outcomes[1].validation)
    one, other = ([timeless(history) for history in outcome.histories] for outcome in outcomes)
    assert one == other
    assert weights(tmp_path / "a") == weights(tmp_path / "b")
    assert (tmp_path / "a" / "model.json").read_bytes() == (tmp_path / "b" / "model.json").read_bytes()


def test_a_fitted_model_knows_nothing_of_where_it_was_made(tmp_path):
    job = make_job(DEFAULT, save_to=tmp_path / "model", **QUICK)
    run_one(job, tmp_path)
    text = (tmp_path / "model" / "model.json").read_text()
    assert str(tmp_path) not in text


class TestKept:
    """What is trained on all images is fitted to what the evaluated network says of images unseen by it."""

    RECIPE = "plain+tta+ensemble+temperature"

    def evaluated(self, **given):
        return Evaluated(make_job(self.RECIPE, **QUICK, **given), part_of(VAL))

    def kept(self, *evaluated, **given):
        everything = np.concatenate([TRAIN, VAL, PREDICT])
        return make_job(
            self.RECIPE,
            train=part_of(everything),
            val=part_of(VAL[:0]),
            predict=part_of(VAL[:0]),
            evaluated=evaluated,
            figures="those of another",
            **{**QUICK, **given},
        )

    def test_it_is_a_new_network_with_predictors_fitted_by_the_evaluated_one(self, tmp_path):
        one = self.evaluated()
        outcome = run_one(self.kept(one, save_to=tmp_path / "model"), tmp_path)
        assert outcome.probabilities.shape == outcome.validation.shape == (0, 3)
        before = trained(one.job, tmp_path).model()[1]
        alone = trained(self.kept(), tmp_path / "networks")
        learned = alone._unfitted()[1]
        images = one.job.trainings[0].store.images
        expected = learned.fitted(before.observe(images, VAL), LABELS[VAL])
        made = Model.load(tmp_path / "model")
        assert made.spec.figures == "those of another"
        rows = np.arange(47)
        given = made.probabilities(images, rows, fixed_batch=True)
        assert np.array_equal(given, expected.probabilities(images, rows, fixed_batch=True))
        assert not np.array_equal(given, before.probabilities(images, rows, fixed_batch=True))
        itself = learned.fitted(learned.observe(images, VAL), LABELS[VAL])  # which has seen these
        assert not np.array_equal(given, itself.probabilities(images, rows, fixed_batch=True))

    def test_several_fit_together(self, tmp_path):
        first, second = self.evaluated(), self.evaluated(seed=1)
        second = dataclasses.replace(second, unseen=part_of(PREDICT))
        key = self.kept(first, second).key
        assert key not in (self.kept(first).key, self.kept(second).key, self.kept().key)
        run_one(self.kept(first, second, save_to=tmp_path / "both"), tmp_path)
        run_one(self.kept(first, save_to=tmp_path / "one"), tmp_path)
        assert weights(tmp_path / "both") != weights(tmp_path / "one")

    def test_nothing_is_told_of_networks_that_are_there(self, tmp_path):
        one, heard = self.evaluated(), []
        run_one(one.job, tmp_path)
        run_one(self.kept(one, name="all images: ", epochs=2), tmp_path, listener=heard.append)
        assert {event.name for event in heard if isinstance(event, EpochEnded)} == {"all images: plain"}
        assert not [event for event in heard if isinstance(event, TrainingEnded) and event.found]
        first = next(event for event in heard if isinstance(event, Progress))
        assert first.fraction == 0.5  # of the one training that there is

    def test_where_nothing_is_fitted_nobody_is_asked(self):
        one = Evaluated(make_job("plain+tta"), part_of(VAL))
        assert make_job("plain+tta", evaluated=(one,)).evaluated == ()


class TestBudgetOfWhatIsKept:
    def rows(self, *losses):
        return epochs("plain", *(("train", 10 * n, 0.5, 0.5, loss) for n, loss in enumerate(losses, 1)))

    def test_as_many_epochs_on_more_images(self):
        config = make_config(SETTINGS, {"epochs": 7})
        assert of_refit(config, [(10, self.rows(1.0))]).total_steps(20) == 20
        config = make_config(SETTINGS, {"samples_seen": 70})
        assert of_refit(config, [(10, self.rows(1.0))]).total_steps(20) == 20

    def test_early_stopping_counts_the_epochs_before_the_best(self):
        config = make_config(SETTINGS, {"epochs": 7, "early_stop": 2})
        found = of_refit(config, [(10, self.rows(0.9, 0.5, 0.6, 0.7)), (10, self.rows(0.9, 0.8, 0.7, 0.6))])
        assert (found.epochs, found.early_stop) == (3.0, 0)
