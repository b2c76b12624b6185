"""sagequeue's runner: claim, exec, recover.

Data goes one way: env file -> `config` -> `worker` -> `settlement` -> `spool`, `runtime`; nothing
below imports what stands above it. docs/queue.md draws the states and gives the on-disk formats.
"""

__version__ = "0.1.0"
