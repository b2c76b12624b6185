"""`python -m sagequeue` is the `sagequeue` command."""

from sagequeue.cli import main

raise SystemExit(main())
