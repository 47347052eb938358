"""What checks share: a list of warnings with the author's own paths, found by position of the object."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.document import LoadedDocument
from edge.document.problems import Finding, Path
from edge.firewall.config import FirewallRule, Section
from edge.model import EdgeConfig


@dataclass(slots=True)
class Warnings:
    """Collects warnings about one configuration; ``loaded`` is the document it came from, where there is one."""

    config: EdgeConfig
    loaded: LoadedDocument | None
    items: list[Finding] = field(default_factory=list)
    covered: dict[int, int] | None = None
    """Position of each shadowed rule, and of the first that covers it; None where the search for them stopped."""

    def add(self, code: str, path: Path, message: str) -> None:
        """Note a warning."""
        self.items.append(Finding(code, path, message, "warning"))

    def path(self, section: str, *steps: str | int) -> Path:
        """The author's path of a canonical one; the canonical one itself where no document is known."""
        return self.loaded.path(section, *steps) if self.loaded else (section, *steps)

    def rule_path(self, position: int, *steps: str | int) -> Path:
        """The path of the firewall rule at a position of ``config.firewall.rules``."""
        rules = self.config.firewall.rules
        section = rules[position].section
        before = 0
        if section is not Section.SYSTEM:
            # Sections follow one another, and no rule of a document is left out.
            low, high = 0, position
            while low < high:
                middle = (low + high) // 2
                if rules[middle].section is section:
                    high = middle
                else:
                    low = middle + 1
            before = low
        return self.path("firewallRules", section.value, position - before, *steps)


def rule_name(rule: FirewallRule, position: int) -> str:
    """``'in-web' (rule 3)``: names are not unique, so messages give the place in the order of evaluation too."""
    from edge.document.problems import quoted

    return f"{quoted(rule.name)} (rule {position + 1})"
