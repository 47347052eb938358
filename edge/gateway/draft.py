"""What a change would make of the running configuration: pure work on documents, for a thread or another process.

Nothing here knows of an edge, a store or an event loop.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, TypeVar

from edge.checks import checked
from edge.checks.again import Checked, check_again
from edge.checks.findings import Warnings
from edge.collector import collector_paused
from edge.compiler import Tables, compile_tables
from edge.complete import complete
from edge.diff import Change, Sections, compare, diff, objects_of
from edge.diff_again import diff_few
from edge.document import LoadedDocument, from_data, loads
from edge.document.problems import Finding
from edge.errors import DocumentError, Problem
from edge.firewall.compile import FirewallTables, compile_firewall
from edge.firewall.config import ApplicationPortProfile, FirewallConfig, FirewallGroup, FirewallRule, Section
from edge.firewall.merge import merged
from edge.firewall.overlay import FEWEST, FirewallBase, is_small_change, overlaid
from edge.gateway.compare import Shiftless, identities, shiftless
from edge.gateway.stored_text import StoredText, as_json, name_of
from edge.masking import PLACEHOLDER, unmasked
from edge.model import EdgeConfig
from edge.patch import Edit, patch
from edge.store import unpacked
from native.overlay import differences

FEW_EDITED: Final = 32
"""Rules that are gone and have come together: with more, all are checked anew."""

Named = TypeVar("Named", FirewallGroup, ApplicationPortProfile)


@dataclass(frozen=True, slots=True)
class Base:
    """A document that is stored: the running one, or one that is to run again."""

    etag: str
    packed: bytes
    allow_unsupported: bool


class Known:
    """A document that was read, and what has been found out about it since."""

    def __init__(
        self, loaded: LoadedDocument, tables: FirewallTables | None = None, text: StoredText | None = None
    ) -> None:
        self.loaded = loaded
        self.text = text  # as it is stored, if somebody has written it
        self._tables = tables  # of its firewall, if somebody has compiled them

    @cached_property
    def _found(self) -> Warnings:
        return checked(self.loaded.config, self.loaded)

    @cached_property
    def warnings(self) -> list[Problem]:
        """Those of reading the document, then those about what it means."""
        return [*self.loaded.problems, *self.loaded.locate(self._found.items)]

    @cached_property
    def told(self) -> Counter[Shiftless]:
        """How often each of them is told, wherever in the document the objects stand."""
        return Counter(shiftless(problem, self.loaded) for problem in self.warnings)

    @cached_property
    def checked(self) -> Checked | None:
        """What a check of a few other rules needs to know; None where nothing can be made of it."""
        return Checked.of(self._found, self._tables or compile_firewall(self.loaded.config.firewall))

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
            base = self.base
            warnings: list[Problem] | None
            if self.edited and base is not None:
                warnings = few_new_warnings(base, self.known)
                if warnings is None:
                    warnings = new_warnings(base, self.known)
            else:
                warnings = self.known.warnings
            if base is None or self.equal:
                return warnings, []
            changes = diff_few(base.loaded, self.known.loaded)
            if changes is None:
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
        text = text_of(loaded, known)
        stored = stored_form(text, allow_unsupported=allow)
        equal = base is not None and known is not None and _is_equal(stored, loaded, base, known.loaded)
        config, small = loaded.config, False
        if known is not None:
            config = keeping(running or known.loaded.config, config)
            small = running is not None and is_small_change(running.firewall, config.firewall)
        tables = None if equal or small else compile_tables(config)
    now = Known(replace(loaded, config=config), None if tables is None else tables.firewall, text)
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


def text_of(loaded: LoadedDocument, before: Known | None) -> StoredText:
    """A document as it is written down; what is the same in the one before need not be written again."""
    try:
        path = [str(step) for step in loaded.path("firewallRules", Section.USER.value)]
        return StoredText(loaded.document, path, before.text if before else None)
    except ValueError:
        raise DocumentError([Problem("INVALID_VALUE", "", "the document has a number that JSON has not")]) from None


def stored_form(text: StoredText, *, allow_unsupported: bool) -> Base:
    """A document as it is stored, and the name of its content."""
    return Base(text.digest(b"%d" % allow_unsupported), text.packed(), allow_unsupported)


def etag_of(document: Mapping[str, Any], *, allow_unsupported: bool = False) -> str:
    """The name of a document's content, as the gateway that runs it tells it.  Raises ValueError for what JSON has
    not."""
    content = as_json(document, sort_keys=True)
    return name_of(b"%d" % allow_unsupported, [content.encode()])


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
    if loaded.config != known.config:
        return False
    few = diff_few(known, loaded)
    return not (diff(known, loaded) if few is None else few)


def few_new_warnings(base: Known, known: Known) -> list[Problem] | None:
    """The same as :func:`new_warnings`, from the rules that differ alone; None where that takes more than them."""
    old, new = base.loaded.config.firewall, known.loaded.config.firewall
    splices = differences(old.rules, new.rules, FEW_EDITED) if len(old.rules) >= FEWEST else None
    before = base.checked if splices is not None else None
    if splices is None or before is None:
        return None
    laid = overlaid(FirewallBase.of(old.rules, before.tables), new)
    if laid is None:
        return None
    overlay, tables = laid[0], before.tables
    if overlay is not None:
        tables = merged(tables, overlay.dead, overlay.added, overlay.before)
    again = check_again(before, base.loaded, known.loaded, tables, splices)
    if again is None:
        return None
    gone = Counter(shiftless(problem, base.loaded) for problem in (*base.loaded.problems, *again.gone))
    come = [(shiftless(problem, known.loaded), problem) for problem in (*known.loaded.problems, *again.come)]
    told = base.told - gone
    told.update(key for key, _ in come)
    found = []
    for key, problem in come:
        gone[key] -= 1
        if gone[key] < 0:
            if told[key] > 1:
                return None  # which of those that say the same is the new one?
            found.append(problem)
    known.checked, known.told = again.checked, told
    return found


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
