"""What a model writes, understood: its thoughts, its calls of tools, and what it says.

Owns pure functions over text as it comes, piece by piece. Must not know models, files or wires.
"""

from turbov2.answers.declared import Declared
from turbov2.answers.reader import AnswerReader

__all__ = ["AnswerReader", "Declared"]
