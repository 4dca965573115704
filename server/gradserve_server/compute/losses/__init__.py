"""Losses: what turns outputs and targets into one number."""

from gradserve_server.compute.losses.formulas import NAMES
from gradserve_server.compute.losses.loss import Loss, LossValue, load_loss, sum_of_outputs

__all__ = ["NAMES", "Loss", "LossValue", "load_loss", "sum_of_outputs"]
