"""The owners of all stages of one session, and the session's only epoch counter. Pure."""

from collections.abc import Iterable

from schemas.events import Owner
from stages.ingress.owner_machine import begin, step
from stages.ingress.owner_states import Action, Actions, Claim, Deadline, Held, Owned, OwnerInput, State


class Owners:
    """Steps one owner machine a stage. Times are milliseconds of the monotonic clock of ingress."""

    def __init__(self, stages: Iterable[str], epoch: int) -> None:
        """epoch: the last one that is in use; ingress itself publishes at it."""
        self.epoch = epoch
        self._stages = tuple(stages)
        self._states: dict[str, State] = {}

    def begin(self, now_ms: int) -> list[tuple[str, Action]]:
        """Claim every stage; returns (stage, action) in the order in which to perform them."""
        actions = []
        for stage in self._stages:
            self._states[stage], first = begin(now_ms, self.epoch + 1)
            actions += [(stage, action) for action in self._counted(first)]
        return actions

    def tell(self, stage: str, event: OwnerInput, now_ms: int) -> list[tuple[str, Action]]:
        """Step the machine of `stage`; returns (stage, action) in the order in which to perform them."""
        if stage not in self._states:
            return []
        self._states[stage], actions = step(self._states[stage], event, now_ms, self.epoch + 1)
        return [(stage, action) for action in self._counted(actions)]

    def tell_all(self, event: OwnerInput, now_ms: int) -> list[tuple[str, Action]]:
        """Step the machine of every stage."""
        return [told for stage in self._states for told in self.tell(stage, event, now_ms)]

    def wake(self, now_ms: int) -> list[tuple[str, Action]]:
        """Step every machine whose deadline has come."""
        due = [stage for stage, state in self._states.items() if (at := state.deadline_ms) is not None and at <= now_ms]
        return [told for stage in due for told in self.tell(stage, Deadline(), now_ms)]

    @property
    def deadline_ms(self) -> int | None:
        """When to call `wake` next; None for never."""
        return min((at for state in self._states.values() if (at := state.deadline_ms) is not None), default=None)

    @property
    def started(self) -> bool:
        """Every stage has an owner that has started and is not suspected."""
        return bool(self._states) and len(self.started_stages) == len(self._states)

    @property
    def started_stages(self) -> set[str]:
        """The stages whose owner has started and is not suspected."""
        return {stage for stage, state in self._states.items() if isinstance(state, Owned)}

    def of(self, stage: str) -> Owner | None:
        """The worker that accepted the newest claim of `stage`, None if there is none."""
        state = self._states.get(stage)
        return state.owner if isinstance(state, Held) else None

    def all(self) -> dict[str, Owner]:
        """Stage -> owner, of the stages that have one."""
        return {stage: state.owner for stage, state in self._states.items() if isinstance(state, Held)}

    def _counted(self, actions: Actions) -> Actions:
        self.epoch += sum(isinstance(action, Claim) for action in actions)
        return actions
