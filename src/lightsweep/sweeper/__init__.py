"""The sweeper: takes a Hydra app's function and a search space, gives a study whose trials are runs of that function.

It imports nothing of lightsweep but `core`; what it asks of the program is an `application.Application`. A trial: the
`trial_queue` claims it, the `space` draws its overrides, a slot of an executor runs its `job`, the `controller` hands
the result back, and the `leaderboard` is written anew.
"""
