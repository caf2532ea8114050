"""W&B, which mirrors what the run folder holds, and never fails a run."""

import logging
import netrc
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import wandb

log = logging.getLogger(__name__)


class Tracker:
    """One W&B run, of the same id however often the run is resumed. Scalars and images stand against `nimg`.

    Args:
        folder: the run's folder; W&B writes into its `wandb`.
        mode: online, offline or disabled; None is online where the user is logged in, else offline.
        project: W&B project.
        config: the run's config, as plain values.
    """

    def __init__(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> None:
        mode = mode or os.environ.get("WANDB_MODE") or ("online" if logged_in() else "offline")
        self.run: Any = None
        if mode == "disabled":
            return
        try:
            self.run = self._init(folder, mode, project, config)
        except Exception as error:  # whatever W&B trips over, the run goes on
            log.warning("W&B is off for this run: %s", error)

    def log(self, nimg: int, values: dict[str, Any]) -> None:
        """Log scalars, or pictures as paths of PNG files, at `nimg`."""
        if self.run is None:
            return
        try:
            images = {name: wandb.Image(str(v)) for name, v in values.items() if isinstance(v, Path)}
            self.run.log({**values, **images, "nimg": nimg})
        except Exception as error:
            log.warning("W&B is off from here on: %s", error)
            self.run = None

    def finish(self) -> None:
        """Close the W&B run."""
        if self.run is not None:
            self.run.finish()

    def _init(self, folder: Path, mode: Any, project: str, config: dict[str, Any]) -> Any:
        (folder / "wandb").mkdir(exist_ok=True)
        name = folder / "wandb" / "run-id.txt"
        if not name.exists():
            name.write_text(secrets.token_hex(4))
        run = wandb.init(
            dir=folder,
            id=name.read_text().strip(),
            name=folder.name,
            project=project,
            mode=mode,
            resume="allow" if mode == "online" else None,
            config=config,
            settings=wandb.Settings(silent=True, init_timeout=30),
        )
        run.define_metric("*", step_metric="nimg")
        return run


def logged_in() -> bool:
    """Tell whether W&B would find a key, without asking anybody for one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    host = urlparse(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
