"""One module for each command: ``add_arguments(parser)``, and ``execute(arguments)`` for a Result or an exit code."""
