"""What a run's records say, in the words of its pages: how far it is, what happened, where it ran."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from ganlab.data.read.location import redact_all
from ganlab.pages.run import Run
from ganlab.pictures.panels import Mark

MARKED = ("start", "resume", "phase", "not-finite", "rollback", "bad samples", "evaluation failed", "stop")
"""Events that are marked on the curves."""
BAD = ("not-finite", "rollback", "bad samples", "evaluation failed")
"""Those among them that should not be."""
NOT_TOLD = ("event", "nimg", "time", "attempt", "versions", "hardware", "command", "git_commit", "hosts", "sha256")
"""Facts of an event that other parts of a page tell."""
MOST = 300
"""Events in a table; of more, the ordinary checkpoints are left out, then the oldest ones."""


def summary(run: Run) -> str:
    """Say in one line how far a run is, and how it ended or when it was last heard of."""
    columns, events = run.columns, run.events
    last_line = {name: float(columns[name][-1]) for name in ("nimg", "time") if name in columns}
    shown = int(last_line.get("nimg", 0))
    turns = [event for event in events if event.get("event") in ("start", "resume", "stop", "done")]
    last = turns[-1] if turns else {}
    state = {"done": "done", "stop": f"stopped by {last.get('signal', 'a signal')}"}.get(str(last.get("event")), "")
    if not state and math.isfinite(time := last_line.get("time", math.nan)):
        state = f"last line at {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC"
    model = run.config.get("model")
    target = str(model.get("_target_", "")).rpartition(".")[2] if isinstance(model, Mapping) else ""
    of = f" of {run.total_nimg:,}" if run.total_nimg else ""
    return ", ".join(filter(None, [target, f"{shown:,}{of} images shown", state]))


def marks(run: Run) -> list[Mark]:
    """Return the events that stand on the curves."""
    told = (event for event in run.events if event.get("event") in MARKED and isinstance(event.get("nimg"), int))
    return [
        Mark(float(event["nimg"]), f"{event['event']} at {event['nimg']:,}: {facts(event)}", event["event"] in BAD)
        for event in told
        if event["nimg"] or event["event"] != "start"
    ]


def happened(run: Run) -> tuple[list[dict[str, str]], int]:
    """Return the rows of a table of events, and how many were left out."""
    events = run.events
    kept = events if len(events) <= MOST else [event for event in events if event.get("event") != "checkpoint"][-MOST:]
    return [row(event) for event in kept], len(events) - len(kept)


def row(event: Mapping[str, Any]) -> dict[str, str]:
    """Return what a table says of an event."""
    nimg = event.get("nimg")
    return {
        "time": moment(event.get("time")),
        "nimg": f"{nimg:,}" if isinstance(nimg, int) else "",
        "event": str(event.get("event", "")),
        "facts": facts(event),
    }


def facts(event: Mapping[str, Any]) -> str:
    """Write the facts of an event."""
    attempt = f"attempt {event['attempt']}" if event.get("attempt") else ""
    told = (f"{name} {text_of(value)}" for name, value in event.items() if name not in NOT_TOLD)
    return redacted("; ".join(filter(None, [*told, attempt])))


def text_of(value: Any) -> str:
    """Write a value on one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(text_of, value)) or "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def moment(time: Any) -> str:
    """Write a time in UTC to the second."""
    try:
        return f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M:%S}"
    except (TypeError, ValueError):
        return ""


def machines(run: Run) -> list[dict[str, str]]:
    """Return the rows of a table of the machines on which a run was started."""
    return [
        {
            "time": moment(event.get("time")),
            "event": f"{event['event']} at {text_of(event.get('nimg', 0))}",
            "hardware": text_of({f"{count} x": name for name, count in event["hardware"].items()}),
            "hosts": str(event.get("hosts", "")),
            "versions": text_of(event.get("versions", {})),
            "commit": str(event.get("git_commit") or "")[:12],
            "command": redacted(str(event.get("command", ""))),
        }
        for event in run.events
        if event.get("event") in ("start", "resume") and isinstance(event.get("hardware"), Mapping)
    ]


def config_text(run: Run) -> str:
    """Write a run's config as YAML, without what may be secret in its URLs."""
    return yaml.safe_dump(redact_all(run.config), sort_keys=False, allow_unicode=True)


def differences(runs: Mapping[str, Run]) -> list[tuple[str, list[str]]]:
    """Return the keys of configs that differ between runs, with their values; the folder's name is no difference."""
    flats = [dict(flattened(redact_all(run.config))) for run in runs.values()]
    keys = dict.fromkeys(key for flat in flats for key in flat if key != "run")
    rows = ((key, [text_of(flat[key]) if key in flat else "-" for flat in flats]) for key in keys)
    return [(key, values) for key, values in rows if len(set(values)) > 1]


def flattened(config: Mapping[str, Any], prefix: str = "") -> Sequence[tuple[str, Any]]:
    """Return the leaves of nested mappings by dotted keys."""
    found = list[tuple[str, Any]]()
    for name, value in config.items():
        if isinstance(value, Mapping) and value:
            found += flattened(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def redacted(text: str) -> str:
    """Remove what may be secret from the URLs in a text."""
    return str(redact_all(text))
