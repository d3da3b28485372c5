"""The installed commands: `betavae-sweep` and `betavae-analyze`.

They are `python sweeps/run.py` and `python sweeps/analyze.py` of a checkout under names of their own.
"""

from __future__ import annotations

from sweeps.interrupts import begin_script


def sweep() -> int:
    """Run `betavae-sweep`; return the exit code."""
    interruption = begin_script()  # first: the import below takes seconds
    from sweeps.run import main

    return main(interruption=interruption)


def analyze() -> int:
    """Run `betavae-analyze`; return the exit code."""
    interruption = begin_script()  # first: the import below takes seconds
    from sweeps.analyze import main

    return interruption.run(main)
