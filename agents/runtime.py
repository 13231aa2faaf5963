"""Decides, epoch by epoch, which share of the records each operator of each query takes on this agent.

Numbers in, decisions out: it reads no clock and touches no record. One number is tuned for all queries: theta, the
effective allowance. The shares for it come from the policy's closed form.

- startup: everything is drained. At once to probe.
- probe: watch, and correct theta a little while all is well. Not stable for `probe_epochs` in a row: to profile; after
  a change of budget or rate, which needs no detection: to adapt at once.
- profile: one epoch in which the costs are measured. Then to adapt.
- adapt: one step of the search for theta per epoch. Stable: to probe. After `adapt_steps`, or where no theta is right:
  to probe with the last theta that was not congested.

Budget, records per epoch and selectivities are known in every epoch, so the shares follow them at once in every state.
A search that was begun for these alone is given `probe_epochs` steps, then the costs are measured anew. A query that
comes in mid-run is drained until it is profiled. One that has no records when a profile is made is tried again later
and later, and does not hold up the others. Profiles that do not lead to quiet become rarer, too.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from agents import choice, policies
from agents.choice import Question, Refusal
from agents.config import RuntimeConfig
from agents.cost_model import QueryCosts, predicted
from agents.drift import Drifts
from agents.judgement import Judgement, Load, judge
from agents.known_costs import BUDGET_CHANGE, KnownCosts
from agents.rates import Smoothed
from agents.search import Search, Tried
from agents.shares import Decision, EpochSeen, Policy, Shares, State
from agents.tuning import Stretch
from agents.unprofiled import Unprofiled

# The part of the budget that theta is steered to.
TARGET: Final = 0.985
# While stable, this part of what is missing to the target is corrected per epoch, up to _TRIM_MOST; a little is not.
_TRIM: Final = 0.3
_TRIM_MOST: Final = 0.015
_NEAR_ENOUGH: Final = 0.01
# More than this is missing, or too much: most of it is corrected at once.
_CLEARLY: Final = 0.035
_TRIM_CLEARLY: Final = 0.8
_TRIM_CLEARLY_MOST: Final = 0.06
# Shares that are all 0 or 1 are not given up for less than this above the budget, or this overflow.
_HELD_OVER: Final = 1.035
_HELD_OVERFLOW: Final = 0.02
# Shares whose model asks for less than this part of the allowance are not held back by it.
_BINDING: Final = 0.98
# A query that comes in is profiled after so many epochs with records: the first one warms caches.
_ARRIVED_EPOCHS: Final = 2
# So many stable epochs in a row are quiet; profiles that do not lead there double the epochs before the next one.
_QUIET_EPOCHS: Final = 10
_MOST_DOUBLINGS: Final = 6
# A model by which nothing is cheaper, though the budget is exceeded, is doubted after so many epochs; then after twice.
_DOUBT_EPOCHS: Final = 8
# The breaker runs what is cheapest by the model: a model that holds it open is doubted as rarely.
_HELD_EPOCHS: Final = 60


class Runtime:
    """One per agent.

    Attributes:
        decision: for the running epoch.
        state, epochs_in_state: for people to look at.
        judged: what the last epoch was like; None before the first, and of an epoch that was profiled or overruled.
    """

    def __init__(self, policy: Policy, config: RuntimeConfig, operators: Mapping[str, tuple[str, ...]]) -> None:
        """`operators`: by version the kinds of its operators, "filter", "join", "project", "extract", "aggregate"."""
        self._policy: Policy = policy
        self._config = config
        self._operators = dict(operators)
        self._known = KnownCosts(config.probe_epochs)
        self._unpaced: frozenset[str] = frozenset()
        self._budget_s = 0.0
        self._stretch = Stretch()
        self._actual = Smoothed(1.0, measured=False)
        self._drifts = Drifts(config.drift_share)
        self._unprofiled = Unprofiled()
        self._unstable = 0
        self._quiet = 0
        self._restless = 0
        self._known_left = 0
        self._over_for, self._over_most = 0, _DOUBT_EPOCHS
        self._held_for, self._held_most = 0, _HELD_EPOCHS
        self._search = Search(self._stretch, config.adapt_steps)
        # By the model, beside what is fixed: the allowance that was decided for, and what its shares should take.
        self._decided_s = self._expected_s = 0.0
        # The budget that the shares were decided for; it moves by itself where it is a share of what is idle.
        self._decided_for_s = 0.0
        self._budget_moved = False
        self.state: State = "startup"
        self.epochs_in_state = 0
        self._refusal = Refusal()  # shares that are not to be tried again
        self._lagging = False  # whether the shares are still on their way to what the allowance is good for
        self.judged: Judgement | None = None
        self.decision = Decision()
        self._decide()

    @property
    def theta_s(self) -> float:
        """The effective allowance of an epoch, in CPU seconds; 0 before the first epoch."""
        return self._known.fixed_s + self._allowance_s

    @property
    def models(self) -> dict[str, QueryCosts]:
        """What was profiled, with rates as they are now."""
        return self._known.models

    @property
    def stable(self) -> bool:
        """Whether the last epoch was neither congested nor idle, and no query waits for its profile.

        An epoch whose budget was not the one that its shares were decided for is not.
        """
        return (
            self.judged is not None
            and self.judged.verdict == "stable"
            and not self._unprofiled.due
            and not self._budget_moved
        )

    def predicted_bytes(self, version: str) -> float | None:
        """Wire bytes per epoch of a version with its present shares; None before it is profiled."""
        costs = self._known.models.get(version)
        return None if costs is None else predicted(costs, self.decision.shares[version]).wire_bytes

    def adopt(self, operators: Mapping[str, tuple[str, ...]]) -> None:
        """Run these versions from the next epoch on, and no others; new ones are drained until they are profiled."""
        self._operators = dict(operators)
        self._known.keep(operators)
        self._unprofiled.keep(operators)
        self._decide(profile=self.decision.profile)

    def configure(self, policy: Policy, config: RuntimeConfig) -> None:
        """Go on with other settings; what was profiled stays."""
        changed = policy != self._policy
        self._policy, self._config = policy, config
        self._known.configure(config.probe_epochs)
        self._drifts.configure(config.drift_share)
        if changed:
            self._drifts.restart()
            self._restless = self._unstable = 0
            if self._tuned and self._known.models:
                self._adapt(config.probe_epochs, then_profile=True)
            else:
                self._enter("probe")
        self._decide(profile=self.state == "profile", anew=changed)

    def give(self, budget_s: float) -> Decision:
        """From now on there is another budget per epoch; returns what is decided with it."""
        if self._budget_s != budget_s:
            self._budget_s = budget_s
            if self.state != "startup":
                self._decide(profile=self.decision.profile)
        return self.decision

    def end_of_epoch(self, seen: EpochSeen) -> Decision:
        """Take an epoch in; returns the decision for the next one."""
        length = max(seen.length_epochs, 1e-3)
        seen = replace(seen, cpu_s=seen.cpu_s / length, budget_s=seen.budget_s / length)
        self.epochs_in_state += 1
        self._budget_s, self._unpaced = seen.budget_s, seen.unpaced
        self._decided_for_s = self._decided_for_s or seen.budget_s
        self._budget_moved = abs(seen.budget_s - self._decided_for_s) > BUDGET_CHANGE * self._decided_for_s
        self._note_rates(seen)
        if self.state == "startup":
            self._enter("probe")
            self.epochs_in_state = 1
        self.judged = None
        if self.state == "profile":
            self._learn(seen)
        elif seen.overruled:
            self._wait_for_the_breaker()
        else:
            self._held_for, self._held_most = 0, _HELD_EPOCHS
            self._known.remember(seen)
            self._weigh(seen)
        self._drifts.end_of_epoch()
        return self.decision

    # What follows is in the order of an epoch's end.

    @property
    def _tuned(self) -> bool:
        return self._policy not in policies.STATIC

    @property
    def _room_s(self) -> float:
        return max(0.0, self._budget_s - self._known.fixed_s)

    @property
    def _allowance_s(self) -> float:
        return self._stretch.value * self._room_s

    @property
    def _paced_shares(self) -> dict[str, Shares]:
        """The shares decided of all that cannot wait: the others have theirs whatever the allowance is."""
        return {version: self.decision.shares[version] for version in self._operators if version not in self._unpaced}

    def _note_rates(self, seen: EpochSeen) -> None:
        self._known.note(seen)
        mine = {version: counts for version, counts in seen.counts.items() if version in self._operators}
        self._unprofiled.add(mine, self._known.models)
        self._known_left = max(0, self._known_left - 1)
        self._refusal.epoch()
        if self._known.changed(seen.budget_s, self._paced_shares):
            self._known_left = self._config.probe_epochs + 1
            self._refusal.forget()

    def _learn(self, seen: EpochSeen) -> None:
        """Take the costs over that the profile found."""
        found = {version: costs for version, costs in (seen.costs or {}).items() if version in self._operators}
        self._unprofiled.tried(found)
        calibrated = self._known.learn(found, self._budget_s)
        self._stretch.start(TARGET / calibrated)
        self._actual = Smoothed(calibrated, measured=False)
        self._drifts.restart()
        self._refusal.forget()
        self._restless += 1
        self._known_left = 0
        if self._tuned and self._known.models:
            self._adapt(self._config.adapt_steps)
        else:
            self._enter("probe")
        self._decide()

    def _wait_for_the_breaker(self) -> None:
        """It runs everything the cheapest way, and must be told which that is. Wrong costs would keep it open."""
        self._held_for += 1
        doubtful = self._held_for >= self._held_most
        if doubtful:
            self._held_for, self._held_most = 0, min(2 * self._held_most, _HELD_EPOCHS << _MOST_DOUBLINGS)
        if self._unprofiled.due or doubtful:
            self._profile()
        else:
            self._decide()

    def _weigh(self, seen: EpochSeen) -> None:
        """Judge the epoch and do what the state wants."""
        paced = {version: kinds for version, kinds in self._operators.items() if version not in self._unpaced}
        shares = self._paced_shares
        if self.state == "adapt":
            # Other shares, other errors of the model: a step wants to know how far off it is for these.
            self._actual.restart(doubted=self._search.begun)
        load = Load(self._policy, self.models, paced, shares, self._known.fixed_s, self._refusal.shares)
        # Whether theta is right shows against the budget it was made for; the next one is followed at once anyway.
        decided_for = replace(seen, budget_s=self._decided_for_s)
        self.judged = judged = judge(decided_for, load, self._config, self._actual)
        stable = judged.verdict == "stable"
        self._quiet = self._quiet + 1 if stable else 0
        if self._quiet >= _QUIET_EPOCHS:
            self._restless = 0
        if self._budget_moved and judged.verdict == "indebted":
            self._decide()
        elif self.state == "adapt":
            self._step(judged)
        elif not self._tuned:
            self._watch_static(seen)
        elif stable and not self._unprofiled.due:
            self._unstable = 0
            self._keep_well(seen, judged)
        else:
            self._look_out(judged)

    def _look_out(self, judged: Judgement) -> None:
        """Not stable while watching: is it time to act? Not for a debt alone, which says nothing of these shares."""
        self._unstable += judged.verdict != "indebted" or self._unprofiled.due
        patience = self._config.probe_epochs * 2 ** min(_MOST_DOUBLINGS, max(0, self._restless - 1))
        if self._known_left and judged.verdict != "stable" and not self._unprofiled.due:
            self._adapt(self._config.probe_epochs, then_profile=True)
            self._step(judged)
        elif self._unstable >= patience or (self._unprofiled.due and self._unstable >= _ARRIVED_EPOCHS):
            self._profile()
        elif judged.verdict == "congested" and self._unstable >= self._config.probe_epochs:
            self._adapt(self._config.adapt_steps)
            self._step(judged)
        else:
            if not self._unprofiled.due:
                # Noise is answered as while all is well; what is left after it is no noise.
                self._correct(judged)
            self._decide()

    def _watch_static(self, seen: EpochSeen) -> None:
        """A policy without allowance needs no costs, until the breaker has to know the cheapest way."""
        over = seen.cpu_s > (1 + self._config.congested_overflow) * seen.budget_s
        self._unstable = self._unstable + 1 if over else 0
        if self._unstable >= self._config.probe_epochs and self._unprofiled.due:
            self._profile()
        else:
            self._decide()

    def _step(self, judged: Judgement) -> None:
        """One step of the search."""
        shares = self._paced_shares
        tried = Tried(self._decided_for_s - self._known.fixed_s, self._decided_s, self._expected_s)
        outcome = self._search.step(judged, shares, tried, TARGET * self._decided_for_s - self._known.fixed_s)
        if judged.verdict == "congested" and choice.whole(shares):
            self._refusal.note(shares)  # there is nothing like them but less: measured, not predicted
        if outcome == "given up":
            if self._search.too_much is not None:
                self._refusal.note(self._search.too_much)
            if self._search.then_profile and self._restless <= 1:
                self._profile()
                return
        if outcome != "go on":
            self._enter("probe")
        self._decide(settled=outcome == "found")

    def _keep_well(self, seen: EpochSeen, judged: Judgement) -> None:
        """All is well: use what is left, notice when the profile grows old."""
        drifted = self._drifts.add(seen, self.models, judged.actual * judged.done_s, judged.done_s)
        if drifted or self._doubtful(judged):
            self._profile()
            return
        clearly = self._correct(judged)
        self._decide(settled=not clearly)

    def _doubtful(self, judged: Judgement) -> bool:
        """Over the budget though no shares are cheaper by the model: it is asked again, ever more rarely."""
        if judged.asked_s <= (1 + self._config.congested_overflow) * self._decided_for_s:
            self._over_for, self._over_most = 0, _DOUBT_EPOCHS
            return False
        self._over_for += 1
        if self._over_for < self._over_most:
            return False
        self._over_for, self._over_most = 0, min(2 * self._over_most, _DOUBT_EPOCHS << _MOST_DOUBLINGS)
        return True

    def _correct(self, judged: Judgement) -> bool:
        """A little of what the shares ask for too much or too little; returns whether that was more than a little."""
        used = judged.asked_s / self._decided_for_s
        missing = TARGET - used
        shares = self._paced_shares
        whole = choice.whole(shares)
        if missing < 0 and whole and used <= _HELD_OVER and judged.overflow <= _HELD_OVERFLOW:
            missing = 0.0
        elif missing < 0 and whole and used > _HELD_OVER:
            self._refusal.note(shares)
        if missing > 0 and self._expected_s < _BINDING * self._decided_s:
            missing = 0.0
        if missing < 0 and self._expected_s > self._decided_s / _BINDING:
            missing = 0.0  # these shares are the cheapest: a smaller allowance would only be wrong when there is more
        clearly = abs(missing) > _CLEARLY
        if self._policy != "best-op" and (clearly or not self._lagging) and abs(missing) > _NEAR_ENOUGH:
            part, most = (_TRIM_CLEARLY, _TRIM_CLEARLY_MOST) if clearly else (_TRIM, _TRIM_MOST)
            self._stretch.trim(max(-most, min(most, part * missing)))
        return clearly

    def _adapt(self, steps: int, *, then_profile: bool = False) -> None:
        self._enter("adapt")
        self._search.begin(steps, then_profile=then_profile)

    def _profile(self) -> None:
        self._enter("profile")
        self._decide(profile=True)

    def _enter(self, state: State) -> None:
        self.state = state
        self.epochs_in_state = self._unstable = 0

    def _decide(self, *, profile: bool = False, settled: bool = False, anew: bool = False) -> None:
        """The shares for the next epoch; once settled they move in small steps."""
        paced = {version: kinds for version, kinds in self._operators.items() if version not in self._unpaced}
        waiting = {version: kinds for version, kinds in self._operators.items() if version in self._unpaced}
        models = self.models
        question = Question(self._policy, models, paced, self._allowance_s)
        now = {version: shares for version, shares in self.decision.shares.items() if version in paced}
        wanted = choice.choose(question, now, self._refusal.shares)
        if self._tuned and not anew:
            wanted = choice.unless_in_vain(question, now, wanted)
        shares = choice.in_steps(now, wanted) if settled and not self._known_left else wanted
        self._lagging = shares != wanted
        if (choice.moved(now, shares) or 0.0) > choice.STEP:
            self._actual.restart(doubted=True)
        # Files that can wait get what is best per record, however long it takes; they never drain for want of CPU.
        alone = {version: self._read_alone(costs) for version, costs in models.items() if version in waiting}
        patient = policies.shares_for(self._policy, alone, waiting, math.inf)
        fallback = choice.cheapest(question, {v: one for v, one in self.decision.fallback.items() if v in paced})
        self._decided_for_s, self._decided_s = self._budget_s, self._allowance_s
        self._expected_s = policies.taken(models, shares).cpu_s
        self.decision = Decision(shares | patient, fallback | patient, profile)

    def _read_alone(self, costs: QueryCosts) -> QueryCosts:
        """A file's query at the rate it would be read at if it had the budget for itself.

        By the rate that the others leave it, it would stay out of the aggregate for having too few records per group.
        """
        each_s = predicted(replace(costs, records=1.0), (1.0,) * len(costs.operators)).cpu_s
        return replace(costs, records=max(costs.records, self._room_s / each_s if each_s > 0 else 0.0))
