"""Programs that are kept, and memory that those which are dropped give back."""

from __future__ import annotations

import weakref

import jax
import jax.numpy as jnp

from gradserve_server.compute.kept import Kept, give_back


def test_what_was_not_used_for_longest_is_dropped() -> None:
    kept: Kept[int] = Kept(2)
    kept.put(b"a", 1)
    kept.put(b"b", 2)
    assert kept.get(b"a") == 1
    kept.put(b"c", 3)
    assert (kept.get(b"a"), kept.get(b"b"), kept.get(b"c"), len(kept)) == (1, None, 3, 2)


def test_memory_is_given_back_once_for_several_that_were_dropped() -> None:
    calls: list[int] = []
    kept: Kept[int] = Kept(4, lambda: calls.append(len(kept)))
    for number in range(4 + 15):
        kept.put(bytes([number]), number)
    assert not calls
    for number in range(4 + 15, 4 + 32):
        kept.put(bytes([number]), number)
    assert calls == [4, 4]


def test_a_dropped_program_is_gone_and_those_that_are_kept_still_run() -> None:
    form = jax.ShapeDtypeStruct((3,), jnp.float32)

    def compiled(factor: float) -> jax.stages.Compiled:
        return jax.jit(lambda x: x * factor).trace(form).lower().compile()

    kept: Kept[jax.stages.Compiled] = Kept(1, lambda: None)
    kept.put(b"first", compiled(2.0))
    first = weakref.ref(kept.get(b"first"))
    kept.put(b"second", compiled(3.0))
    give_back()
    assert first() is None
    found = kept.get(b"second")
    assert found is not None
    assert found(jnp.ones(3, jnp.float32)).tolist() == [3, 3, 3]
