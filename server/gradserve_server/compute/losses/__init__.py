"""Losses: what turns outputs and targets into one number."""

from gradserve_server.compute.losses.cotangents import Cotangents
from gradserve_server.compute.losses.loss import Loss, LossValue, Tensors, Unreduced
from gradserve_server.compute.losses.reading import NAMES, load_loss, sum_of_outputs

__all__ = ["NAMES", "Cotangents", "Loss", "LossValue", "Tensors", "Unreduced", "load_loss", "sum_of_outputs"]
