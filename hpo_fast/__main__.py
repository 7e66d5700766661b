"""`python -m hpo_fast` is the command line."""

from hpo_fast.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
