"""The only training loop."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from toy import at_epochs

from sit2.errors import TrainingError
from sit2.events import TrainingBegan
from sit2.methods import METHODS
from sit2.methods.method import train_plainly
from sit2.training.backbones import Network
from sit2.training.loop import VALIDATIONS, EarlyStop, _epochs, lr_fraction
from sit2.training.phase import cross_entropy

TRAINED = [name for name, one in METHODS.items() if not one.in_closed_form]


class Recorder(nn.Module):
    """A small encoder that remembers, in training, how many images it saw, and the mode it was in."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen, self.looked = nn.Linear(3, 5), 0, 0

    def forward(self, images):
        if self.training:
            self.seen += len(images)
        else:
            self.looked += len(images)
        return self.layer(images.mean(dim=(2, 3)))


def small(encoder=None):
    torch.manual_seed(0)
    return Network(encoder or Recorder(), 5, 3)


class TestBudget:
    @pytest.mark.parametrize("method", [*TRAINED, "multi-label@all", "not-sure@random"])
    def test_every_method_sees_exactly_as_many_images(self, method, make_training):
        network = small()
        training = make_training(method, network=network, pretrain_fraction=0.37)
        training.run()
        assert network.encoder.seen == training.history[-1].samples_seen == 12 * 7

    @pytest.mark.parametrize(("epochs", "steps"), [(3, 12), (0.5, 2), (0.01, 1), (1, 4), (10, 41)])
    def test_epochs_are_passes_over_the_training_images(self, epochs, steps, make_training):
        training = make_training(network=small(), epochs=epochs)
        assert training.config.total_steps(29) == steps
        training.run()
        assert training.network.encoder.seen == 7 * steps

    def test_progress_once_an_epoch_of_each_phase(self, make_training):
        reports = []
        training = make_training(network=small(), watch=reports.append, pretrain_fraction=0.5)
        training.run()
        assert [(p.phase, p.step, p.steps, p.samples_seen) for p in reports] == [
            ("pretrain", 4, 12, 28),
            ("pretrain", 6, 12, 42),
            ("fine-tune", 10, 12, 70),
            ("fine-tune", 12, 12, 84),
        ]
        assert reports == training.history
        assert all(p.val_log_loss is None and 0 < p.loss < 10 for p in reports)
        assert [p.epoch for p in reports] == [1, 2, 3, 4]
        assert {(p.name, p.method) for p in reports} == {("toy", "multi-label")}
        assert [p.seconds for p in reports] == sorted(p.seconds for p in reports)

    def test_a_listener_hears_of_the_beginning_first(self, make_training):
        heard = []
        training = make_training(network=small())
        training.listener = heard.append
        training.run()
        assert heard == [TrainingBegan("toy", "multi-label", 12, 7), *training.history]


@pytest.mark.parametrize(
    ("start", "length", "parts"),
    [
        (0, 10, [(0, 4), (4, 8), (8, 10)]),
        (4, 10, [(4, 8), (8, 10)]),
        (8, 10, [(8, 10)]),
        (10, 10, []),
        (0, 3, [(0, 3)]),
    ],
)
def test_epochs_of_29_images_in_batches_of_7(start, length, parts):
    assert list(_epochs(start, length, 29, 7)) == parts


def test_fewer_images_than_a_batch_are_an_epoch_of_one_step():
    assert list(_epochs(0, 3, 2, 64)) == [(0, 1), (1, 2), (2, 3)]


class TestLearningRate:
    def test_by_hand(self):
        # 10 steps, two of them to warm up; the cosine falls over the other eight.
        expected = [1 / 3, 2 / 3, *(0.5 * (1 + math.cos(math.pi * n / 8)) for n in range(8))]
        assert [lr_fraction(step, 10, 0.2) for step in range(10)] == pytest.approx(expected)

    @pytest.mark.parametrize("warmup", [0.0, 0.1, 0.37, 0.9])
    @pytest.mark.parametrize("steps", [1, 2, 7, 101])
    def test_rises_to_at_most_one_then_falls_and_is_never_zero(self, steps, warmup):
        fractions = [lr_fraction(step, steps, warmup) for step in range(steps)]
        peak = fractions.index(max(fractions))
        assert all(0 < fraction <= 1 for fraction in fractions)
        assert fractions[: peak + 1] == sorted(fractions[: peak + 1])
        assert fractions[peak:] == sorted(fractions[peak:], reverse=True)
        assert warmup * steps - 1 <= peak <= math.ceil(warmup * steps)

    def test_without_warm_up_starts_at_the_peak_and_matches_torchs_cosine(self):
        parameter = nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1.0)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=13)
        theirs = []
        for _ in range(13):
            theirs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        assert [lr_fraction(step, 13, 0.0) for step in range(13)] == pytest.approx(theirs)

    @pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
    def test_a_kept_encoder_learns_at_its_fraction_and_a_new_head_in_full(
        self, optimizer, make_training, monkeypatch
    ):
        seen = []
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
        step = kind.step

        def spy(self, *args, **kwargs):
            rates = {}
            for group in self.param_groups:
                for parameter in group["params"]:
                    rates[id(parameter)] = (group["lr"], group["weight_decay"])
            seen.append({name: rates[id(p)] for name, p in network.named_parameters()})
            return step(self, *args, **kwargs)

        monkeypatch.setattr(kind, "step", spy)
        network = small()
        make_training(
            network=network, optimizer=optimizer, lr=0.02, warmup=0.0, finetune_lr=0.25, weight_decay=0.03
        ).run()
        assert len(seen) == 12
        for n, rates in enumerate(seen):
            lr = 0.02 * lr_fraction(n % 6, 6, 0.0)
            kept = 0.25 if n >= 6 else 1.0
            assert rates["encoder.layer.weight"] == pytest.approx((kept * lr, 0.03))
            assert rates["encoder.layer.bias"] == pytest.approx((kept * lr, 0.0))
            assert rates["head.weight"] == pytest.approx((lr, 0.03))
            assert rates["head.bias"] == pytest.approx((lr, 0.0))

    @pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 0.002), ("sgd", 0.05)])
    def test_defaults(self, optimizer, lr, make_training):
        training = make_training(
            "plain", network=small(), optimizer=optimizer, lr=None, weight_decay=None, warmup=0.0, epochs=0.01
        )
        training.run()
        assert training.history[0].lr == lr


class TestPhases:
    def test_the_head_is_new_in_every_phase_and_the_encoder_kept(self, make_training):
        states = []
        training = make_training("sure-or-not", network=small())
        training.listener = at_epochs(
            lambda _: states.append({k: v.clone() for k, v in training.network.state_dict().items()})
        )
        training.run()
        assert [s["head.weight"].shape for s in states] == [(1, 5), (1, 5), (3, 5), (3, 5)]

    def test_heads_of_phases_and_seeds_are_independent(self, make_training):
        heads = []
        for seed in (0, 1):
            training = make_training("plain-restart", network=small(), lr=0.0, seed=seed)
            training.listener = at_epochs(
                lambda _, t=training: heads.append(t.network.head.weight.detach().clone())
            )
            training.run()
        assert len(heads) == 8
        assert len(torch.stack(heads).unique(dim=0)) == 4  # two phases of two epochs that learn nothing

    def test_a_phase_of_learning_rate_zero_keeps_the_encoder(self, make_training):
        training = make_training("multi-label", network=small(), lr=0.0)
        before = {k: v.clone() for k, v in training.network.encoder.state_dict().items()}
        after = training.run().encoder.state_dict()
        assert all(torch.equal(before[k], after[k]) for k in before)

    def test_training_learns(self, make_training):
        # Whole epochs as batches: in a small one that has too many of a class, its brightness is normalised away.
        training = make_training("plain", epochs=20, augment="none", batch_size=29)
        training.run()
        assert training.history[-1].loss < training.history[0].loss / 5

    def test_the_result_is_in_evaluation_mode(self, make_training):
        assert not any(module.training for module in make_training().run().modules())


class TestDeterminism:
    def run(self, make_training, **settings):
        torch.manual_seed(np.random.default_rng().integers(2**31))  # what is outside does not matter
        return make_training(**settings).run()

    @pytest.mark.parametrize("method", ["multi-label", "cutmix"])
    def test_the_same_twice(self, make_training, same_weights, method):
        one, other = (self.run(make_training, method=method) for _ in range(2))
        assert same_weights(one, other)

    def test_another_seed_differs(self, make_training, same_weights):
        one, other = (self.run(make_training, seed=seed) for seed in (0, 1))
        assert not torch.equal(one.encoder.stages[0].weight, other.encoder.stages[0].weight)

    def test_the_callers_generator_stays_as_it_is(self, make_training):
        training = make_training()
        state = torch.get_rng_state()
        training.run()
        assert torch.equal(torch.get_rng_state(), state)


class TestBalance:
    def weight_of_the_loss(self, make_training, **settings):
        weights = []

        def loss(logits, targets, weight):
            weights.append(weight)
            return cross_entropy(logits, targets, weight)

        phase = dataclasses.replace(train_plainly(3), loss=loss)
        make_training(phases=[phase], network=small(), **settings).run()
        assert all(weight is weights[0] for weight in weights)
        return weights[0]

    def test_weights_are_scikit_learns(self, make_training, toy):
        expected = compute_class_weight("balanced", classes=np.arange(3), y=toy[1])
        assert len(set(expected)) == 2  # 10, 10 and 9 images
        np.testing.assert_allclose(
            self.weight_of_the_loss(make_training, balance="weights"), expected, rtol=0.01
        )

    @pytest.mark.parametrize("balance", ["none", "sampling"])
    def test_no_weights_unless_asked_for(self, make_training, balance):
        assert self.weight_of_the_loss(make_training, balance=balance) is None

    @pytest.mark.parametrize("method", ["not-sure", "sure-or-not", "multi-label", "label-smoothing"])
    def test_weights_reach_the_loss(self, method, make_training, same_weights):
        plain, weighted = (make_training(method, balance=b).run() for b in ("none", "weights"))
        assert not same_weights(plain, weighted)


class TestEarlyStopping:
    def test_the_best_weights_are_kept(self):
        network = small()
        stop = EarlyStop(patience=2)
        told = []
        for number, loss in enumerate([0.9, 0.5, 0.7, 0.5, 0.4]):
            with torch.no_grad():
                network.head.bias.fill_(number)
            told.append(stop.update(loss, network))
        assert told == [False, False, False, True, False]  # 0.5 again is not better
        assert stop.best == 0.4
        assert stop.weights["head.bias"].tolist() == [4, 4, 4]
        stop.update(2.0, network)
        with torch.no_grad():
            network.head.bias.fill_(9)
        assert stop.weights["head.bias"].tolist() == [4, 4, 4]

    def test_the_last_phase_stops_and_returns_the_best(self, make_training, same_weights):
        losses, states = iter([0.9, 0.4, 0.6, 0.5, 0.1, 0.1]), []

        def validate(network):
            assert not network.training
            states.append({k: v.clone() for k, v in network.state_dict().items()})
            return 0.5, next(losses)

        training = make_training("multi-label", epochs=12, early_stop=2, validate=validate)
        best = training.run()
        assert same_weights(best, states[1])
        assert len(states) == 4
        told = [(p.phase, p.val_log_loss) for p in training.history if p.val_log_loss is not None]
        assert told == [("fine-tune", loss) for loss in (0.9, 0.4, 0.6, 0.5)]
        assert training.history[-1].samples_seen == (25 + 4 * 4) * 7

    def test_training_goes_on_in_training_mode_after_a_validation(self, make_training):
        network = small()
        training = make_training(
            "plain", network=network, early_stop=5, validate=lambda n: (0.25, float(n.training))
        )
        training.run()
        assert {(p.val_accuracy, p.val_log_loss) for p in training.history} == {(0.25, 0.0)}
        assert network.encoder.seen == 84

    def test_off_means_that_validations_decide_nothing(self, make_training, same_weights):
        """They are measured in the last phase all the same, for history.csv: its end, and some before it."""
        worse = iter(range(100))
        settings = {"epochs": 12, "early_stop": 0}
        training = make_training("multi-label", validate=lambda _: (0.5, float(next(worse))), **settings)
        assert same_weights(training.run(), make_training("multi-label", **settings).run())
        measured = [p.val_log_loss for p in training.history if p.phase == "fine-tune"]
        assert measured == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
        assert {p.val_log_loss for p in training.history if p.phase == "pretrain"} == {None}

    def test_a_long_training_is_validated_some_twenty_times(self, make_training):
        looked = []

        def validate(_network):
            looked.append(1)
            return 0.5, 0.7

        training = make_training("plain", network=small(), epochs=61, early_stop=0, validate=validate)
        training.run()
        assert len(training.history) == 64  # 253 steps, four an epoch
        assert len(looked) == sum(p.val_log_loss is not None for p in training.history) == VALIDATIONS
        assert training.history[-1].val_log_loss is not None

    def test_a_validation_that_is_not_a_number_ends_the_training(self, make_training):
        training = make_training("plain", early_stop=2, validate=lambda _: (0.5, math.nan))
        with pytest.raises(TrainingError) as error:
            training.run()
        assert str(error.value) == (
            "the validation loss became nan in phase 'train' at step 4 of 12, at learning rate "
            "0.0093\nexpected a finite loss; lower --lr"
        )


class TestDivergence:
    def test_the_sentence_names_phase_steps_and_learning_rate(self, make_training):
        training = make_training("multi-label", lr=1e30, optimizer="sgd", warmup=0.0)
        with pytest.raises(TrainingError) as error:
            training.run()
        lr = 1e30 * lr_fraction(1, 6, 0.0)  # the second step is the first that sees what the first one did
        assert str(error.value) == (
            f"the loss became nan in phase 'pretrain' at step 2 of 6, at learning rate {lr:.2g}\n"
            "expected a finite loss; lower --lr"
        )

    def test_a_later_phase_and_epoch_are_named(self, make_training):
        def poisoned(logits, targets, weight):
            calls.append(1)
            return logits.sum() * (math.inf if len(calls) == 5 else 0.0)

        calls = []
        training = make_training(
            phases=[dataclasses.replace(train_plainly(3), loss=poisoned)], network=small(), warmup=0.0, lr=0.5
        )
        with pytest.raises(TrainingError, match=r"in phase 'train' at step 5 of 12, at learning"):
            training.run()
