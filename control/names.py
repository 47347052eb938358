"""Names of resources: ``orgs/US1134362/users/maria``, collections and ids by turns."""

from __future__ import annotations

import re

from edge.errors import ArgumentError

MAX_NAME = 512
SYSTEM = "orgs/system"
"""The provider's own organization."""
SYSTEM_PROFILES = "systemProfiles/"
"""What the names of the application port profiles begin with that VMware ships; the rest is VMware's name."""

_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def parse(name: str, pattern: str, field: str) -> str:
    """``name`` if it is of the form ``pattern``, for example ``orgs/*/users/*``.

    Raises ArgumentError, a violation at ``field``.
    """
    if not fits(name, pattern):
        told = ": what VMware ships can only be read" if name.startswith(SYSTEM_PROFILES) else ""
        raise ArgumentError("the name of an object is wrong", [(field, f"expected {pattern}{told}")])
    return name


def fits(name: str, pattern: str) -> bool:
    """Is it of the form ``pattern``?"""
    wanted, given = pattern.split("/"), name.split("/") if len(name) <= MAX_NAME else []
    return len(wanted) == len(given) and all(
        _SEGMENT.fullmatch(have) if want == "*" else want == have for want, have in zip(wanted, given, strict=True)
    )


def is_name(text: str) -> bool:
    """Does a text begin as names of objects do?"""
    return text.startswith(("orgs/", "regions/", "sizingPolicies/", SYSTEM_PROFILES))


def camel(field: str) -> str:
    """``ipSets`` for ``ip_sets``: a field's name in JSON."""
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), field)


def is_id(text: str) -> bool:
    """Can it be the id of an object, at the end of its name?"""
    return _ID.fullmatch(text) is not None


def is_shared(name: str) -> bool:
    """Is it the provider's, for every organization: a region and what lies in it, a size?"""
    return not name.startswith("orgs/")


def organization(name: str) -> str:
    """``orgs/X`` of the organization that a name lies in; what is shared lies in the provider's."""
    return SYSTEM if is_shared(name) else "/".join(name.split("/")[:2])


def parent(name: str) -> str:
    """What a name lies in, '' for an organization and other names of two parts."""
    return "/".join(name.split("/")[:-2])


def last(name: str) -> str:
    """The id at the end of a name."""
    return name.rpartition("/")[2]
