"""Other servers of gradients, each set up as its own documentation says.

`environment` makes them an environment of their own; what runs in it are `driver` and the modules beside it, which
import nothing of ours. `rows` measures.
"""
