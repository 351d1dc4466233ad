"""Scalar macros of the shipped queries and views: what is said once about metrics and names."""

from __future__ import annotations

from hmct_track.metrics import METRICS
from hmct_track.names import GENERIC

_TEXTS = {
    # How bad a value is, larger is worse; made from the registry of metrics. NULL where there is no
    # value. Names of metrics in rows are known ones; a parameter goes through known_metric, as a
    # macro with error() in it is volatile, which DuckDB refuses in windows.
    "badness(metric, value)": "CASE metric {cases} END",
    "known_metric(metric)": """CASE
        WHEN metric IN ({names}) THEN metric
        ELSE error('no metric of this name: ' || metric)
    END""",
    # The formulas of metrics on sums over x float, y quantized and d = x - y.
    "cosine_of(xx, yy, xy, dd)": """CASE
        WHEN dd = 0 THEN 1.0
        ELSE xy / (greatest(sqrt(xx), 1e-8) * greatest(sqrt(yy), 1e-8))
    END""",
    "mre_of(abs_d, abs_x)": """CASE
        WHEN abs_x > 0 THEN abs_d / abs_x
        WHEN abs_d = 0 THEN 0.0
        ELSE 'Infinity'::DOUBLE
    END""",
    "sqnr_of(xx, dd)": """CASE
        WHEN dd = 0 THEN 'Infinity'::DOUBLE
        WHEN xx = 0 THEN '-Infinity'::DOUBLE
        ELSE 10 * (log10(xx) - log10(dd))
    END""",
    # A mean in a fixed order, so that the last digits do not depend on threads. An infinite value
    # would hide all others and is left out, unless there is none but infinite ones: then the worst.
    "mean_of(metric, value, place)": """coalesce(
        avg(value ORDER BY place) FILTER (isfinite(value)),
        arg_max(value, badness(metric, value)) FILTER (isinf(value))
    )""",
    # How many infinite values such a mean leaves out, where a value has so many of its own.
    "left_out(value, infinite)": "if(bool_or(isfinite(value)), sum(infinite), 0)::BIGINT",
    # How much worse b is than a; positive is worse. What became NaN dropped by infinity.
    "drop_of(metric, a, b)": """CASE
        WHEN a IS NULL AND b IS NULL OR a = b THEN 0.0
        WHEN b IS NULL THEN 'Infinity'::DOUBLE
        WHEN a IS NULL THEN '-Infinity'::DOUBLE
        ELSE badness(metric, b) - badness(metric, a)
    END""",
    # A model's name for people, as hmct_track.names.model_label.
    "model_label(path, graph_name)": """CASE
        WHEN path IS NULL THEN coalesce(nullif(graph_name, ''), 'model')
        WHEN {folder} <> '' AND {stem} IN ({generic}) THEN {folder} || '/' || {stem}
        ELSE {stem}
    END""",
}
_PARTS = "list_filter(string_split(path, '/'), lambda part: part NOT IN ('', '.'))"
# As PurePath has them: a name that begins with a dot, or ends with one, has no suffix there.
_STEM = f"regexp_replace(coalesce({_PARTS}[-1], ''), '(?s)^(.+)\\.[^.]+$', '\\1')"
_FOLDER = f"coalesce({_PARTS}[-2], '')"


def scalar_macros() -> dict[str, str]:
    """Name of each macro to the statement that makes it, each after those that it uses."""
    cases = " ".join(
        f"WHEN '{metric}' THEN {'-' if facts.higher_is_better else ''}value"
        for metric, facts in METRICS.items()
    )
    names = ", ".join(f"'{metric}'" for metric in METRICS)
    said = {"cases": cases, "names": names, "folder": _FOLDER, "stem": _STEM}
    said["generic"] = ", ".join(f"'{stem}'" for stem in GENERIC)
    return {
        head.partition("(")[0]: f"CREATE OR REPLACE MACRO {head} AS {body.format(**said)}"
        for head, body in _TEXTS.items()
    }
