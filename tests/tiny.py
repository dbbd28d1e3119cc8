"""What makes ``sweep=quick`` take a second, in this process."""

TINY = (
    "hydra.sweeper.n_jobs=0",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "data.limit=200",
    "model.width=choice(8,16)",
    "logger=none",
)
