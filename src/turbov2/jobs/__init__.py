"""Long work that outlives its request, and the server: jobs with state, progress and results on disk.

Owns the file of jobs, their order and their life. Must not know models, engines, wires or what a kind of
job does: a kind brings its own coroutine.
"""

from turbov2.jobs.jobs import Jobs
from turbov2.jobs.states import ENDED, JobKind, JobLimits, JobState, JobStatus, Reached, Unit

__all__ = ["ENDED", "JobKind", "JobLimits", "JobState", "JobStatus", "Jobs", "Reached", "Unit"]
