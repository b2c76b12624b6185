"""The queue does what its diagram says, whoever acts on it and in whatever order."""

import model


def test_the_queue_is_its_model_after_every_step() -> None:
    model.taken.clear()
    model.hold()
    assert set(model.taken) == set("ABCDEFGHIJKLM"), "an edge that is never taken is not tested"
