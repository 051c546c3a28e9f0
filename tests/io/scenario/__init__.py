"""One client's life with a server that is unkind in every way that the protocol allows.

`World` is what is said and who may hear it, `UnkindServer` and `UnkindRest` are what the client
talks to, `Moves` what can happen, `Scenario` one life from the first start of the program to a calm
end, `audit` compares what was told with what was said. `steps` writes lives at random, and `mutants`
are faults of the client that must not survive them.
"""

from .life import Scenario
from .rooms import KINDS, ME

__all__ = ["KINDS", "ME", "Scenario"]
