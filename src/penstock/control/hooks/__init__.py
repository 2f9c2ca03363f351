"""The machinery around an operator's project: loading it, calling its hooks in processes without rights, in time or not."""
