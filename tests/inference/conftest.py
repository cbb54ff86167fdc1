"""One thread: two of them on busy cores wait for each other, many times longer than they compute."""

import torch

torch.set_num_threads(1)
