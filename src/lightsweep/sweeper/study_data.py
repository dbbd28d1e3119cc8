"""Which data a study was begun with: trials on others cannot be compared with its own."""

from pathlib import Path

import optuna

from lightsweep.runs import data_record
from lightsweep.sweeper.leaderboard import folder_of

_DIGEST = "data"  # an attribute of the study


class StudyData:
    """The digest is an attribute of the study, the whole record a file in its folder, both from the first trial that
    had read its data.

    Args:
        allow_change: take whatever the trials find from now on.
        is_one: all trials have the same data; else nothing is kept and nothing is compared.
    """

    def __init__(self, study: optuna.Study, folder: Path, *, allow_change: bool, is_one: bool) -> None:
        self.study, self.folder, self.allow_change, self.is_one = study, folder, allow_change, is_one

    def expected(self) -> tuple[str, str] | None:
        """For an `Assignment`; None where nothing is known yet, or any data will do."""
        if self.allow_change or not self.is_one:
            return None
        if self._digest() is None:
            for record in sorted(self.folder.glob(f"trial-*/{data_record.FILE}")):
                self._take(record.parent)
                break
        digest = self._digest()
        return None if digest is None else (digest, str(self.folder.absolute()))

    def renew(self, number: int) -> bool:
        """Look at what a trial that ended has found; True where it is not what the study had."""
        before = self._digest()
        if not self.is_one:
            return False
        if before is None or self.allow_change:
            for record in sorted((self.folder / folder_of(number)).glob(f"**/{data_record.FILE}")):
                self._take(record.parent)
        return before not in (None, self._digest())

    def _digest(self) -> str | None:
        return self.study.user_attrs.get(_DIGEST)

    def _take(self, folder: Path) -> None:
        found = data_record.read_if_valid(folder)
        if found is not None and found.digest != self._digest():
            data_record.write(self.folder, found)
            self.study.set_user_attr(_DIGEST, found.digest)
