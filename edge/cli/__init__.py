"""The command ``t1edge``: one file per command, none with logic of its own.

Start reading at :mod:`edge.cli.main`; :mod:`edge.cli.common` has what commands share.
"""
