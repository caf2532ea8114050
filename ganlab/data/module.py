"""The former path of `ShardData`, which is part of the public interface."""

from ganlab.data.read.module import ShardData

__all__ = ["ShardData"]
