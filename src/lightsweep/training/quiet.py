"""Messages of the libraries that tell the user of lightsweep nothing he could act on."""

import logging
import threading
import warnings

_EVENT_FILES = "_AsyncWriterThread"  # TensorBoard's, which writes them


def libraries() -> None:
    """Keep warnings of Lightning, drop its information, and the warnings that our use of it makes wrong."""
    import pytorch_lightning  # noqa: F401  # sets the levels of its messages, when it is first imported

    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # compile=true without a GPU
    for message in (
        r".*smaller than the logging interval.*",  # we log once an epoch, on purpose
        r".*Checkpoint directory .* exists and is not empty.*",  # last.ckpt is in it from the start
        r".*isinstance\(treespec, LeafSpec\).*",  # Lightning's use of torch
        r".*Please add the following callbacks: .*",  # resumed with other callbacks, as the user wished
        r".*sync_dist=True.*",  # what we log has been summed over the processes already
        r".*does not have many workers.*",  # our loader needs none
        r".*The `srun` command is available.*",  # a machine of a cluster: a run there need be no job
        r".*lr_scheduler.step\(\)` before `optimizer.step\(\).*",  # a resumed run
    ):
        warnings.filterwarnings("ignore", message=message)
    threading.excepthook = _thread_failed


def _thread_failed(failure: threading.ExceptHookArgs) -> None:
    """A file that cannot be written: whoever writes to it next is told, and the run says so in one line."""
    if isinstance(failure.exc_value, OSError) and type(failure.thread).__name__ == _EVENT_FILES:
        return
    threading.__excepthook__(failure)
