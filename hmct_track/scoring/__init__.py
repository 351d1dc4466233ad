"""Scores of the user's own: functions of a sample's outputs and its label, as judges of outputs."""

from hmct_track.scoring.builtin import BUILT_IN
from hmct_track.scoring.judge import Scored, ScoreJudge
from hmct_track.scoring.labels import read_labels
from hmct_track.scoring.loading import load_scores

__all__ = ["BUILT_IN", "ScoreJudge", "Scored", "load_scores", "read_labels"]
