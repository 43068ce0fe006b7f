"""The portable log: append, read, and follow it in groups, on any store that holds logs."""

from holdfast.logs.batch import Batch, NextOffsets
from holdfast.logs.beats import Beats
from holdfast.logs.groups import Group, GroupLag
from holdfast.logs.log import Log
from holdfast.logs.members import Member
from holdfast.logs.producers import LogProducer

__all__ = ["Batch", "Beats", "Group", "GroupLag", "Log", "LogProducer", "Member", "NextOffsets"]
