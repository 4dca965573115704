"""What operations add to the gradients of what they take, as formulas for people.

In the notation of NumPy: ``*`` is taken element by element, ``@`` is the product of matrices, ``^T`` turns rows and
columns, ``sum`` adds up what the text after it names. Rules know no JAX and no format: a front-end looks one up for
each of its operations and binds it to what the operation takes.
"""

from gradserve_server.compute.calculus.terms import NOTHING, SAME, Rule, bind, over_broadcast, rule, words

__all__ = ["NOTHING", "SAME", "Rule", "bind", "over_broadcast", "rule", "words"]
