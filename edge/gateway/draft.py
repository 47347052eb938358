"""What a change would make of the running configuration: pure work on documents, for a thread or another process.

Nothing here knows of an edge, a store or an event loop.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from edge.checks import check
from edge.collector import collector_paused
from edge.compiler import Tables, compile_tables
from edge.complete import complete
from edge.diff import Change, Sections, compare, diff, objects_of
from edge.document import LoadedDocument, from_data, loads
from edge.document.problems import Finding
from edge.errors import DocumentError, Problem
from edge.firewall.config import ApplicationPortProfile, FirewallConfig, FirewallGroup, FirewallRule
from edge.firewall.overlay import is_small_change
from edge.gateway.compare import identities, shiftless
from edge.masking import PLACEHOLDER, unmasked
from edge.model import EdgeConfig
from edge.patch import Edit, patch
from edge.store import packed, unpacked

Named = TypeVar("Named", FirewallGroup, ApplicationPortProfile)


@dataclass(frozen=True, slots=True)
class Base:
    """A document that is stored: the running one, or one that is to run again."""

    etag: str
    packed: bytes
    allow_unsupported: bool


class Known:
    """A document that was read, and what has been found out about it since."""

    def __init__(self, loaded: LoadedDocument) -> None:
        self.loaded = loaded

    @cached_property
    def warnings(self) -> list[Problem]:
        """Those of reading the document, then those about what it means."""
        return [*self.loaded.problems, *check(self.loaded.config, self.loaded)]

    @cached_property
    def objects(self) -> Sections:
        """Its objects, as they are compared."""
        return objects_of(self.loaded)

    @cached_property
    def complete(self) -> str:
        """The complete document, JSON."""
        return as_json(complete(self.loaded))


@dataclass(frozen=True, slots=True)
class Order:
    """What a caller wants: a whole document (a text), edits of the base, or a stored document again."""

    wanted: str | Sequence[Edit] | Base
    allow_unsupported: bool
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A configuration that could run: the document's, of which what is equal in the base is the base's own objects, and
    that of ``known``, which the next change is held against.

    ``equal``: it is the base again, and nothing has to be done.  ``tables`` are None then, and where so little has
    changed that whoever runs the base compiles it sooner than these could be handed over.
    """

    base: Known | None
    known: Known
    config: EdgeConfig
    stored: Base
    tables: Tables | None
    equal: bool
    edited: bool

    def told(self) -> tuple[list[Problem], list[Change]]:
        """The warnings about it, of edits only those that the base does not have, and what differs from the base; what
        was added or removed goes without its fields."""
        with collector_paused():
            base, warnings = self.base, self.known.warnings
            if base is None:
                return warnings, []
            if self.edited:
                warnings = new_warnings(base, self.known)
            if self.equal:
                return warnings, []
            changes = compare(base.objects, self.known.objects, whole=False)
            return warnings, changes or identities(base.loaded.config, self.known.loaded.config)


def draft(order: Order, base: Base | None, known: Known | None, running: EdgeConfig | None = None) -> Draft:
    """Read what is wanted, hold it against the base, compile it.  ``known`` is the base, read.

    ``running`` is the base's configuration where it runs and the draft is for whoever runs it: its objects are kept,
    and a small change of it is not compiled.

    Raises DocumentError with every problem found, and what :func:`edge.patch.patch` raises.
    """
    with collector_paused():
        loaded = _read(order, known.loaded if known else None)
        allow = order.wanted.allow_unsupported if isinstance(order.wanted, Base) else order.allow_unsupported
        stored = stored_form(loaded, allow_unsupported=allow)
        equal = base is not None and known is not None and _is_equal(stored, loaded, base, known.loaded)
        config, small = loaded.config, False
        if known is not None:
            config = keeping(running or known.loaded.config, config)
            small = running is not None and is_small_change(running.firewall, config.firewall)
        tables = None if equal or small else compile_tables(config)
    now = Known(replace(loaded, config=config))
    return Draft(known, now, config, stored, tables, equal, not isinstance(order.wanted, str | Base))


def keeping(old: EdgeConfig, new: EdgeConfig) -> EdgeConfig:
    """The new configuration, with the old one's objects for all firewall rules, and other parts, that are equal.  Rules
    that differ have the old one's groups and profiles, so that those of no earlier reading stay behind."""
    before = {rule.id: rule for rule in old.firewall.rules}
    groups, profiles = _keeper(old.firewall.groups), _keeper(old.firewall.profiles)

    def kept(rule: FirewallRule) -> FirewallRule:
        was = before.get(rule.id)
        if was is rule:
            return rule
        if rule.source_groups or rule.destination_groups or rule.profiles:
            rule = replace(
                rule,
                source_groups=groups(rule.source_groups),
                destination_groups=groups(rule.destination_groups),
                profiles=profiles(rule.profiles),
            )
        return was if was is not None and was == rule else rule

    firewall = FirewallConfig(
        rules=tuple(map(kept, new.firewall.rules)),
        groups=groups(new.firewall.groups),
        profiles=profiles(new.firewall.profiles),
    )
    return replace(
        new,
        routing=old.routing if old.routing == new.routing else new.routing,
        firewall=firewall,
        nat=old.nat if old.nat == new.nat else new.nat,
    )


def _keeper(old: Iterable[Named]) -> Callable[[tuple[Named, ...]], tuple[Named, ...]]:
    """What puts the old objects in the place of equal ones, which have to live on meanwhile: each is compared once."""
    before = {item.id: item for item in old}
    found: dict[int, Named] = {}

    def keep(items: tuple[Named, ...]) -> tuple[Named, ...]:
        for item in items:
            if id(item) not in found:
                was = before.get(item.id)
                found[id(item)] = was if was is not None and was == item else item
        return tuple(found[id(item)] for item in items)

    return keep


def read_back(stored: Base) -> LoadedDocument:
    """A stored document, read.  Raises DocumentError if this version does not take it any more, StoreError if it is
    damaged."""
    return loads(unpacked(stored.packed), allow_unsupported=stored.allow_unsupported)


def stored_form(loaded: LoadedDocument, *, allow_unsupported: bool) -> Base:
    """A document as it is stored, and the name of its content: the order of keys does not matter, all else does."""
    try:
        text = as_json(loaded.document)
        content = as_json(loaded.document, sort_keys=True)
    except ValueError:
        raise DocumentError([Problem("INVALID_VALUE", "", "the document has a number that JSON has not")]) from None
    digest = hashlib.sha256(b"%d%s" % (allow_unsupported, content.encode()))
    return Base(digest.hexdigest()[:32], packed(text), allow_unsupported)


def as_json(value: Any, *, sort_keys: bool = False) -> str:
    """JSON in one line.  Raises ValueError for what JSON has not."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys)


def _read(order: Order, known: LoadedDocument | None) -> LoadedDocument:
    wanted = order.wanted
    if isinstance(wanted, Base):
        return read_back(wanted)
    if isinstance(wanted, str):
        loaded = loads(wanted, file=order.file, allow_unsupported=order.allow_unsupported)
        return _with_secrets(loaded, known, order.allow_unsupported) if PLACEHOLDER in wanted else loaded
    assert known is not None, "edits are made to the running document"
    data = patch(known.document, wanted)
    loaded = known.changed(data, allow_unsupported=order.allow_unsupported)
    given = any(PLACEHOLDER in getattr(edit, "object", "") for edit in wanted)
    return _with_secrets(loaded, known, order.allow_unsupported) if given else loaded


def _with_secrets(loaded: LoadedDocument, known: LoadedDocument | None, allow_unsupported: bool) -> LoadedDocument:
    """The document with the running one's secrets where it says that they stay.  Raises DocumentError where the running
    one has none."""
    document, missing = unmasked(loaded.document, known.document if known else {})
    if missing:
        text = f"{PLACEHOLDER!r} stands for a secret that is kept, and there is none to keep"
        raise DocumentError(loaded.locate(Finding("INVALID_VALUE", path, text) for path in missing))
    again = from_data(document, allow_unsupported=allow_unsupported)
    return replace(loaded, config=again.config, document=document)


def _is_equal(stored: Base, loaded: LoadedDocument, base: Base, known: LoadedDocument) -> bool:
    """Nothing would change: neither what the edge does, nor what a comparison of the documents shows."""
    if stored.etag == base.etag:
        return True
    return loaded.config == known.config and not diff(known, loaded)


def new_warnings(base: Known, known: Known) -> list[Problem]:
    """The warnings that a document's predecessor did not have, wherever in it the objects stood."""
    before = Counter(shiftless(problem, base.loaded) for problem in base.warnings)
    found = []
    for problem in known.warnings:
        key = shiftless(problem, known.loaded)
        before[key] -= 1
        if before[key] < 0:
            found.append(problem)
    return found
