"""What is typed as ``KEY=VALUE``: its grammar, keys that no config has, and values as they are written."""
