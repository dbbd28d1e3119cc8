"""The data that the trials of a study have read: the same for all, unless the user allows a change."""

from collections.abc import Sequence
from pathlib import Path

import optuna

from lightsweep.core.files import read_regular, write_atomic
from lightsweep.sweeper.application import Application
from lightsweep.sweeper.trials import folder_of


class StudyData:
    """Which data a study was started with: a digest, an attribute of the study, and its record, in the sweep's folder.

    Both are taken from the first trial that has read its data. Nothing is kept where trials read different data.

    Args:
        folder: of the sweep.
        allow_change: trials may read other data than the first one did.
        is_same: whether all trials read the same data.
    """

    def __init__(
        self, study: optuna.Study, folder: Path, application: Application, *, allow_change: bool, is_same: bool
    ) -> None:
        self.study, self.folder, self.application = study, folder, application
        self.allow_change, self.is_same = allow_change, is_same

    def expected(self) -> tuple[str, str] | None:
        """The digest and the folder of the record; None where nothing is known yet, or the data may be any."""
        if self.allow_change or not self.is_same:
            return None
        if self._digest() is None:
            self._keep(sorted(self.folder.glob(f"trial-*/{self.application.data_file}"))[:1])
        digest = self._digest()
        return None if digest is None else (digest, str(self.folder.absolute()))

    def renew(self, number: int) -> bool:
        """Take the data of a trial that ended; True where they are not those that the study had."""
        before = self._digest()
        if not self.is_same:
            return False
        if before is None or self.allow_change:
            self._keep(sorted((self.folder / folder_of(number)).glob(f"**/{self.application.data_file}")))
        return before not in (None, self._digest())

    def _digest(self) -> str | None:
        return self.study.user_attrs.get("data")

    def _keep(self, records: Sequence[Path]) -> None:
        for record in records:
            digest = self.application.data_digest(record.parent)
            if digest is not None and digest != self._digest():
                write_atomic(self.folder / record.name, read_regular(record))
                self.study.set_user_attr("data", digest)
