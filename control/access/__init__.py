"""Who somebody is, and what they may do.

:mod:`~control.access.roles` has the one table of roles, :mod:`~control.access.methods` the one table of methods;
:mod:`~control.access.login` turns a password and a code into a session, :mod:`~control.access.callers` a token into a
caller.  Nothing here keeps a password, a token or a seed in the clear.
"""
