"""`python -m cgru_jax` is `cgru-jax`."""

from .cli import main

raise SystemExit(main())
