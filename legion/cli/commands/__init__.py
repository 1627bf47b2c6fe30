"""The commands, a file a subject."""

from . import asks, back, check, demo, doctor, journal, run, simulate, status


ALL = (
    demo.add,
    check.add,
    simulate.add,
    run.add,
    status.add_status,
    status.add_validate,
    back.add_rollback,
    back.add_restore,
    back.add_deactivate,
    asks.add,
    journal.add,
    doctor.add,
)
"""What adds each command to the parser, in the order in which help lists them."""

__all__ = ["ALL"]
