"""A trace as people see it: a page to explore, a plot of how gradients flow."""
