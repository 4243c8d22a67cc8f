"""Names of versions.

The number of a version counts the registrations in one registry, so two clones of a repository may
give one number to two models. Messages therefore show "version 3 (serct on tess, 4f2a91c)", and
commands take for a version, besides its number and an alias:

- its stage or its folder, "serct-tess" or "tess-serct", if there is only one such version;
- the beginning of its fingerprint, or of its weights' digest where trainings of one fingerprint
  ended in different weights.
"""

import re
from collections.abc import Mapping

from serct.errors import UnknownVersionError

SHOWN = 7  # digits of a digest
_LISTED = 10  # names in a message
_PREFIX = re.compile(r"[0-9a-f]{4,64}")
_ALIAS_HINTS = {
    "champion": "; `serct promote` makes a version the champion, `serct sync` restores a lost one",
    "challenger": "; `serct sync` registers the trained models",
    "previous": "; only a second promotion makes a champion the previous one",
}

Tags = Mapping[str, str]


def version_name(number: str, tags: Tags, *notes: str) -> str:
    """Return what a message calls a version.

    Args:
        number: Its number in this registry.
        tags: Its tags in the registry.
        notes: More to say of it.

    Example:
        >>> tags = {"model": "serct", "corpus": "tess", "fingerprint": "4f2a91c2d0"}
        >>> version_name("3", tags, "@champion")
        'version 3 (serct on tess, 4f2a91c, @champion)'
        >>> version_name("4", {})
        'version 4 (not registered by serct)'
    """
    if "fingerprint" not in tags:
        return f"version {number} ({', '.join(['not registered by serct', *notes])})"
    about = [f"{tags['model']} on {tags['corpus']}", tags["fingerprint"][:SHOWN], *notes]
    return f"version {number} ({', '.join(about)})"


def find_number(
    registered_model: str, which: str, versions: Mapping[str, Tags], aliases: Mapping[str, str]
) -> str:
    """Return the number of the version that a text stands for.

    Args:
        registered_model: For the message.
        which: Its number, an alias with or without @, or a name.
        versions: The tags of each number, the oldest first.
        aliases: The number of each alias.

    Raises:
        UnknownVersionError: If it stands for none or for several; the message lists what there is.
    """
    alias = which.removeprefix("@")
    number = aliases.get(alias, which)
    if number in versions:
        return number
    found = [number for number, tags in versions.items() if _fits(which, tags)]
    if not found:
        hint = _ALIAS_HINTS.get(alias, "")
        raise UnknownVersionError(
            f"registered model {registered_model!r} has no {which!r}, it has "
            f"{_listed(versions, aliases)}{hint}"
        )
    if len(found) > 1:
        rivals = (
            version_name(number, tags, f"weights {tags.get('weights', '')[:SHOWN]}")
            for number, tags in versions.items()
            if number in found
        )
        raise UnknownVersionError(
            f"registered model {registered_model!r} has {len(found)} versions {which!r}: "
            f"{', '.join(rivals)}; expected a number, or digits that only one has"
        )
    return found[0]


def _fits(name: str, tags: Tags) -> bool:
    if "fingerprint" not in tags:
        return False
    model, corpus = tags["model"], tags["corpus"]
    if name in (f"{model}-{corpus}", f"{corpus}-{model}"):
        return True
    digests = (tags["fingerprint"], tags.get("weights", ""))
    return bool(_PREFIX.fullmatch(name)) and any(each.startswith(name) for each in digests)


def _listed(versions: Mapping[str, Tags], aliases: Mapping[str, str]) -> str:
    """Return the names of versions, of the newest ones if there are many."""
    names = [
        version_name(
            number, tags, *sorted(f"@{alias}" for alias in aliases if aliases[alias] == number)
        )
        for number, tags in [*versions.items()][-_LISTED:]
    ]
    older = len(versions) - len(names)
    return ", ".join([*names, *([f"and {older} older, see `serct models`"] if older else [])])
