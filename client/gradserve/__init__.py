"""gradserve: a network, weights and a batch in; the loss and its gradients out."""

from importlib.metadata import version as _version

__version__ = _version("gradserve")

__all__ = ["__version__"]
