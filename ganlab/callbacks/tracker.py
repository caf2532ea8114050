"""W&B, which mirrors the run folder, and never fails a run."""

import logging
import netrc
import os
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ganlab.data.read.location import redact_all
from ganlab.files import atomic_write

log = logging.getLogger(__name__)

INIT_SECONDS = 20
"""Seconds to wait for W&B's server; without an answer the run is kept offline, and `wandb sync` uploads it."""

FINISH_SECONDS = 60
"""Seconds that the end of a run waits for uploads; the rest stays on disk, and `wandb sync` uploads it."""


class Tracker:
    """One W&B run, with the same id however often the run is resumed. Scalars and images are plotted against `nimg`.

    It logs on its own thread, in order, so training never waits for W&B.

    Args:
        folder: the run's folder; W&B writes into its `wandb`.
        mode: online, offline or disabled; None is online if the user is logged in, else offline. It never asks for a
            key: online without one is offline too.
        project: W&B project.
        config: the run's config, as plain values. Of a URL in it W&B is told no user, password or query.
    """

    def __init__(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> None:
        mode = mode or os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
        self.run: Any = None
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="wandb")
        if mode == "disabled":
            return
        import wandb  # slow, and only needed here

        if mode == "online" and not logged_in():  # W&B would ask for a key and wait
            log.warning("W&B is offline: nobody is logged in; `wandb login`, then `wandb sync` sends the run")
            mode = "offline"
        for attempt in ("online", "offline") if mode == "online" else (mode,):
            try:
                self.run = self._init(folder, attempt, project, config)
                return
            except Exception as error:  # the run continues whatever W&B raises
                log.warning("W&B (%s) cannot begin: %s", attempt, " ".join(str(error).split()))
                wandb.teardown()  # its service holds the run's id, which the next attempt needs

    def log(self, nimg: int, values: Mapping[str, Any]) -> None:
        """Log scalars, or pictures as futures of PNG paths, at `nimg`, which must not decrease."""
        self.pool.submit(self._log, nimg, dict(values))

    def _log(self, nimg: int, values: dict[str, Any]) -> None:
        if self.run is None:
            return
        import wandb

        try:
            images = {name: wandb.Image(str(v.result())) for name, v in values.items() if isinstance(v, Future)}
            self.run.log({**values, **images, "nimg": nimg}, step=nimg)
        except Exception as error:
            log.warning("W&B is off from here on: %s", error)
            self.run = None

    def replay(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log again what the run logged before it was stopped, if W&B is offline.

        A killed offline run loses what W&B's service had not written yet, and a later upload replaces an earlier one of
        the same id, so each part must be complete.
        """
        if self.run is not None and self.run.offline:
            for row in rows:
                self.log(row["nimg"], {name: value for name, value in row.items() if value is not None})

    def finish(self) -> None:
        """Log the rest and close the W&B run."""
        self.pool.shutdown()
        if self.run is None:
            return
        try:
            self.run.finish()
        except Exception as error:
            log.warning("W&B could not end its run: %s", error)

    def _init(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> Any:
        import wandb

        (folder / "wandb").mkdir(exist_ok=True)
        name = folder / "wandb" / "run-id.txt"
        if not name.exists():
            with atomic_write(name) as file:
                file.write(secrets.token_hex(4).encode())
        run = wandb.init(
            dir=folder,
            id=name.read_text().strip(),
            name=folder.name,
            project=project,
            mode=mode,
            resume="allow" if mode == "online" else None,
            config=redact_all(config),
            settings=wandb.Settings(silent=True, init_timeout=INIT_SECONDS, finish_timeout=FINISH_SECONDS),
        )
        run.define_metric("*", step_metric="nimg")
        return run


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
