"""W&B, which mirrors the run folder."""

import logging
import netrc
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ganlab.callbacks.tracker import Scalars, Tracker
from ganlab.data.read.location import redact_all
from ganlab.files import atomic_write

log = logging.getLogger(__name__)

INIT_SECONDS = 20
"""Seconds to wait for W&B's server; without an answer the run is kept offline, and `wandb sync` uploads it."""

FINISH_SECONDS = 60
"""Seconds that the end of a run waits for uploads; the rest stays on disk, and `wandb sync` uploads it."""


class WandB(Tracker):
    """One W&B run, with the same id however often the run is resumed. Scalars and images are plotted against `nimg`.

    Args:
        folder: the run's folder; W&B writes into its `wandb`.
        mode: online, offline or disabled; None is online if the user is logged in, else offline. It never asks for a
            key: online without one is offline too.
        project: W&B project.
        config: the run's config, as plain values. Of a URL in it W&B is told no user, password or query.
    """

    NAME = "W&B"

    def __init__(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> None:
        mode = mode or os.environ.get("WANDB_MODE")
        self.run: Any = None
        self.is_new = False
        if mode == "disabled":
            return
        try:
            self._open(folder, mode, project, config)
        except Exception as error:  # the run continues whatever W&B raises
            log.warning("W&B is off: %s", " ".join(str(error).split()))

    def _open(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> None:
        import wandb  # slow, and only needed here

        if refused := drop_refused_settings():
            log.warning("W&B is offline: it refuses %s", "; ".join(refused))
            mode = "offline"  # it would go to another server than the one that was meant
        mode = mode or ("online" if logged_in() else "offline")
        if mode == "online" and not logged_in():  # W&B would ask for a key and wait
            log.warning("W&B is offline: nobody is logged in; `wandb login`, then `wandb sync` sends the run")
            mode = "offline"
        for attempt in ("online", "offline") if mode == "online" else (mode,):
            try:
                self.run = self._init(folder, attempt, project, config)
                return
            except Exception as error:
                log.warning("W&B (%s) cannot begin: %s", attempt, " ".join(str(error).split()))
                wandb.teardown()  # its service holds the run's id, which the next attempt needs

    def begin(self, rows: Sequence[Scalars]) -> None:
        """Log again what the run logged before it was stopped, if W&B is offline or does not know the run.

        A killed offline run loses what W&B's service had not written yet, and a later upload replaces an earlier one of
        the same id, so each part must be complete.
        """
        if self.run is not None and (self.run.offline or self.is_new):
            for row in rows:
                self.log(int(row["nimg"]), row)

    def log(self, nimg: int, values: Scalars) -> None:
        """Log scalars."""
        if self.run is not None:
            self.run.log({**values, "nimg": nimg}, step=nimg)

    def show(self, nimg: int, name: str, picture: Path) -> None:
        """Log a picture."""
        if self.run is not None:
            import wandb

            self.run.log({name: wandb.Image(str(picture)), "nimg": nimg}, step=nimg)

    def finish(self) -> None:
        """Close the W&B run."""
        if self.run is not None:
            self.run.finish()

    def _init(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> Any:
        import wandb

        identity, self.is_new = id_of(folder)
        run = wandb.init(
            dir=folder,
            id=identity,
            name=folder.name,
            project=project,
            mode=mode,
            resume="allow" if mode == "online" else None,
            config=redact_all(config),
            settings=wandb.Settings(silent=True, init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS),
        )
        run.define_metric("*", step_metric="nimg")
        return run


def id_of(folder: Path) -> tuple[str, bool]:
    """Return the W&B id of a run's folder, and whether it is new: a moved folder keeps its id, a copy gets its own."""
    (folder / "wandb").mkdir(exist_ok=True)
    file, place = folder / "wandb" / "run-id.txt", folder / "wandb" / "run-folder.txt"
    here = folder.resolve()
    before = Path(place.read_text()) if place.exists() else here
    is_new = not file.exists()
    if not is_new and before.exists() and not before.samefile(here):
        original = before / "wandb" / "run-id.txt"
        is_new = original.exists() and original.read_text() == file.read_text()
        if is_new:
            log.warning("W&B: %s is a copy of %s, so it gets an id of its own", folder, before)
    for path, text in ((file, secrets.token_hex(4) if is_new else None), (place, str(here))):
        if text is not None and not (path.exists() and path.read_text() == text):
            with atomic_write(path) as out:
                out.write(text.encode())
    return file.read_text().strip(), is_new


def drop_refused_settings() -> list[str]:
    """Remove the WANDB_ variables that W&B refuses from the environment; return them, but for empty ones."""
    import wandb

    for name in [name for name, value in os.environ.items() if name.startswith("WANDB_") and not value]:
        del os.environ[name]
    refused: list[str] = []
    while True:
        try:
            wandb.setup()
            return refused
        except ValueError as error:
            settings = [str(item["loc"][0]).upper() for item in getattr(error, "errors", list)()]
            names = {f"WANDB_{setting}" for setting in settings} & os.environ.keys()
            if not names:
                raise
            refused += [f"{name}={os.environ.pop(name)}" for name in sorted(names)]


def logged_in() -> bool:
    """Tell whether W&B would find a key, without asking for one."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import wandb

    url = wandb.setup().settings.base_url  # from WANDB_BASE_URL or `wandb login --host`
    hosts = [urlsplit(url).netloc]
    if url == wandb.Settings().base_url:
        hosts.append("api.wandb.ai")  # the default's former host, for which keys may be stored
    try:
        known = netrc.netrc(os.environ.get("NETRC") or Path.home() / ".netrc").hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return False
    return any(host in known and known[host][2] for host in hosts)
