"""What the package promises to everybody by name: a change here is a change for all who use Holdfast."""

import holdfast

PUBLIC = {
    "App",
    "BackendError",
    "Bury",
    "CONTEXT",
    "Call",
    "Cancel",
    "Closed",
    "Context",
    "CorruptLog",
    "Delivery",
    "Depends",
    "Duplicate",
    "HoldfastError",
    "Job",
    "JobCancelled",
    "JobError",
    "JobExpired",
    "JobFailed",
    "JobTimedOut",
    "Lane",
    "LeaseLost",
    "LogMessage",
    "Message",
    "OffsetGone",
    "QueueFull",
    "Retry",
    "RetryLater",
    "State",
    "Stored",
    "StoredAt",
    "Task",
    "Undecodable",
    "Unique",
    "UsageError",
    "Worker",
    "current_job",
}


def test_the_public_names_are_these_and_no_others():
    assert set(holdfast.__all__) == PUBLIC


def test_every_public_name_is_there_and_says_what_it_is_for():
    for name in PUBLIC - {"CONTEXT"}:
        assert getattr(holdfast, name).__doc__
