"""The commands of `hpo-fast`, one a module: add_arguments(parser) declares what it takes, run(args) does it."""
