"""Raw outputs, of which nothing is known: compared with the float model's by direction, and by nothing else."""

from skerry_host.builder.judge.tasks.base import TaskRules
from skerry_host.builder.judge.tasks.embedding import agree

RULES = TaskRules(agree)
