"""The commands, a file a subject."""

from . import (
    asks,
    back,
    cache,
    check,
    demo,
    doctor,
    journal,
    replay,
    run,
    simulate,
    status,
    validate,
)


ALL = (
    demo.add,
    check.add,
    simulate.add,
    run.add,
    status.add,
    validate.add,
    replay.add,
    back.add_rollback,
    back.add_restore,
    back.add_deactivate,
    asks.add,
    journal.add,
    cache.add,
    doctor.add,
)
"""What adds each command to the parser, in the order in which help lists them."""

__all__ = ["ALL"]
