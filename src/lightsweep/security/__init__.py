"""What a config, a saved run, a checkpoint or a study from somebody else may do: be data.

`table` says what may be called, `targets` compares a config with it, `loader` does so wherever Hydra composes,
`hydra_keys` and `paths` hold the values that name files, folders, addresses and modules, `typed` knows what the person
at the command line asked for, `links` keeps writing inside a folder, and `secrets` keeps passwords out of files.

Nothing here imports torch or Lightning: it runs before the command line is understood.
"""
