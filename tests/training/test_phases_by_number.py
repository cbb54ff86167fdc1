"""Two phases of one name are two phases: each has its own order of images and its own new head."""

import torch

from sit2.methods.batches import Originals
from sit2.methods.targets import one_class
from sit2.training.phase import Phase, cross_entropy

torch.set_num_threads(1)


def test_two_phases_of_one_name_draw_different_orders_and_heads(make_training):
    phase = Phase("train", Originals(), one_class, cross_entropy, outputs=3, fraction=0.5)
    training = make_training(phases=[phase, phase], epochs=2)
    heads = []
    network, new_head = training.network, training.network.new_head

    def remember(outputs, *, seed):
        new_head(outputs, seed=seed)
        heads.append(network.head.weight.detach().clone())

    network.new_head = remember
    orders = [training.training_set.for_phase(number).rows(0, 29).tolist() for number in range(2)]
    training.run()
    assert len(heads) == 2
    assert not torch.equal(*heads)
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(29))
