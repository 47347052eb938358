"""A whole tenant as one document: what it wants, what there is, and the way from one to the other.

:mod:`.document` reads the file, :mod:`.there` what the control plane has, :mod:`.plan` compares the two and makes
requests of the difference, in an order in which they can be made.  All of it is a client's side: :mod:`.written` has
the words of a file with their places, :mod:`.fields` objects as JSON and as models, :mod:`.references` which fields
name others.
"""
