"""Many networks of one shape, trained as one computation.

It knows nothing of sweeps, folders and files: `app.populations` runs a sweep's trials with it.
"""
