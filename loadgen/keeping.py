"""What becomes of each record of a run: it is written, added to the figures and shown, in that order.

Made by `run.py`; called by the run in this process, or by that of several with their records as one.
"""

from typing import NamedTuple

from loadgen.core.figures import Figures
from loadgen.core.plan import Plan
from loadgen.core.recorder import Record
from loadgen.core.screen import Progress
from loadgen.live import Live
from loadgen.run_folder import RunFolder


class Taken(NamedTuple):
    """A record, and where the run stood when it was taken.

    Attributes:
        boundary: microseconds from the run's start to the interval's intended end; the last record's is `LAST`.
        stage: its number in the plan.
        stage_s, of_s: seconds of it that are over, and that it takes.
    """

    boundary: int
    stage: int
    stage_s: float
    of_s: float
    record: Record


LAST = 1 << 62
"""The boundary of the record that ends a run, whenever that is."""


class Keeper:
    """Keeps a run's records.

    Attributes:
        figures: of the records so far.
    """

    def __init__(self, folder: RunFolder, live: Live, plan: Plan) -> None:
        self._folder = folder
        self._live = live
        self._plan = plan
        self._clients: dict[int, int] = {}  # by stage, once it is reached
        self.figures = Figures()

    def keep(self, taken: Taken) -> None:
        """Write one record, add it up, show it.

        Raises:
            OSError: it can't be written.
        """
        record = taken.record
        self._folder.write(record)
        self.figures.add(record)
        number = taken.stage
        if number not in self._clients:
            self._clients[number] = self._plan.clients_in(self._plan.stages[number])
        name, clients = self._folder.path.name, self._clients[number]
        progress = Progress(name, record["stage"], taken.stage_s, taken.of_s, clients)
        self._live.show(progress, record, self.figures)
