"""Toolchains that only know of nodes left in float: NNCF and ModelOpt."""

from __future__ import annotations

import json
import re

from hmct_track.exporting.view import Exported, NodePlan, PlanView


def nncf_scope(view: PlanView) -> Exported:
    """The arguments of NNCF's ``IgnoredScope``: ``nncf.IgnoredScope(**json.load(file))``."""
    names, unsaid = _float_nodes(view, "IgnoredScope")
    return Exported(json.dumps({"names": names, "validate": True}, indent=2) + "\n", unsaid)


def modelopt_exclusions(view: PlanView) -> Exported:
    """The values of ModelOpt's ``--nodes_to_exclude``: regular expressions, one a line."""
    names, unsaid = _float_nodes(view, "nodes_to_exclude")
    return Exported("".join(f"^{re.escape(name)}$\n" for name in names), unsaid)


def _float_nodes(view: PlanView, where: str) -> tuple[list[str], list[str]]:
    """Nodes that stay in float. What becomes int16 or float16 is more than such a list can say."""
    unsaid = []
    names = []
    for node in view.nodes:
        if not node.is_changed:
            continue
        if _is_float(node):
            names.append(node.name)
        else:
            unsaid.append(f"node {node.name!r}: {', '.join(node.types)}; {where} is of float only")
    return names, unsaid


def _is_float(node: NodePlan) -> bool:
    return set(node.types) == {"float32"}
