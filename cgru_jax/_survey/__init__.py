"""Surveys on disk: random networks by the million, resumable at any moment."""

from ._plan import SurveyPlan
from ._run import parse_shard, shard_of_slurm, survey
from ._summary import Survey, as_table

__all__ = ["Survey", "SurveyPlan", "as_table", "parse_shard", "shard_of_slurm", "survey"]
