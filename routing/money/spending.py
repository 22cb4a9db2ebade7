"""Keeps calls within their budgets: nothing is sent before the most that it can cost is reserved.

What is reserved for a call is what its attempts have cost so far and the most that the next one can
cost, renewed before each attempt. So retries and fallbacks need no room before they are due, and the
limit holds all the same. The most that an attempt can cost is `max_tokens` of output, and for the
prompt a token for each byte, at the dearest rate that could apply. A provider that writes more than
`max_tokens`, or charges by another price than is known, breaks that bound: what it really charged is
spent all the same, and the thresholds that this crosses are told.
"""

import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo

from tierwise.routing.candidates import Candidate
from tierwise.routing.clock import period_end, period_start
from tierwise.routing.errors import BudgetExceeded, InvalidRequest
from tierwise.routing.journal import Journal
from tierwise.routing.money.consumption import most_cost
from tierwise.routing.money.pricing import nano_usd, usd
from tierwise.routing.policy import Plan
from tierwise.routing.request import ChatRequest, Payload
from tierwise.routing.run import Served
from tierwise.routing.settings import BudgetSettings
from tierwise.storage.budgets import (
    AtLimit,
    Budget,
    BudgetAccount,
    BudgetPeriod,
    BudgetScope,
    Charge,
    Crossing,
    Refusal,
    Reservation,
)
from tierwise.storage.errors import StorageError
from tierwise.storage.ports import Store

_log = logging.getLogger(__name__)

_LIFETIME = 1.0
"""Seconds for which a budget that another process adds or removes may go unnoticed; limits are always
those of the store."""
_MARGIN_MS = 60_000
"""By which a reservation outlasts the call's deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A threshold of a budget that a call has crossed."""

    budget: Budget
    percent: int
    period_start: int
    period_end: int | None
    spent_nano_usd: int
    message: str
    """The same as a sentence."""


class Spending:
    """The budgets of one store, in the user's time zone. Safe for concurrent tasks.

    `hold` is the longest that a call may take, in seconds; `tracking` says that calls are recorded,
    without which there can be no budgets.
    """

    def __init__(self, store: Store, time_zone: tzinfo, *, hold: float, tracking: bool) -> None:
        self.time_zone = time_zone
        self._store = store
        self._hold_ms = int(hold * 1000) + _MARGIN_MS
        self._tracking = tracking
        self._known: list[Budget] = []
        self._stale_at = 0.0

    async def set_budget(self, budget: Budget) -> None:
        """Add `budget`, or put it in place of the one of that name; what was spent in its period counts.

        Raises:
            InvalidRequest: calls are not recorded, so nothing could be charged to it.
        """
        if not self._tracking:
            raise InvalidRequest("Budgets need the ledger: set usage_tracking.enabled to true.")
        start = period_start(budget.period, _now(), self.time_zone)
        await self._store.set_budget(budget, period_start=start)
        self._stale_at = 0.0

    async def delete_budget(self, name: str) -> bool:
        """Delete a budget; False if there is none of that name."""
        self._stale_at = 0.0
        return await self._store.delete_budget(name)

    async def adopt(self, budgets: tuple[Budget, ...]) -> None:
        """Put the budgets of the settings into the store; those that are there stay untouched."""
        if budgets and self._tracking:
            known = await self._store.budgets()
            for budget in budgets:
                if budget not in known:
                    await self.set_budget(budget)

    async def account(self, budget: Budget) -> BudgetAccount:
        """What is spent and reserved in the budget's current period."""
        now = _now()
        start = period_start(budget.period, now, self.time_zone)
        return await self._store.budget_spent(budget.name, start, now=now)

    async def applying_to(self, request: ChatRequest) -> tuple[Budget, ...]:
        """The budgets that `request` is charged to."""
        if not self._tracking:
            return ()
        if time.monotonic() >= self._stale_at:
            try:
                self._known = await self._store.budgets()
            except StorageError as error:
                _log.warning("The budgets cannot be read, so those known last apply: %s", error)
            self._stale_at = time.monotonic() + _LIFETIME
        return tuple(budget for budget in self._known if _applies(budget, request))

    def charges(self, budgets: tuple[Budget, ...]) -> tuple[Charge, ...]:
        """The accounts of these budgets for the periods that it is now."""
        now = _now()
        return tuple(
            Charge(budget=budget.name, period_start=period_start(budget.period, now, self.time_zone))
            for budget in budgets
        )

    async def reserve(self, reservation_id: str, budgets: tuple[Budget, ...], amount: int) -> None:
        """Hold `amount` nano-USD back in each of `budgets`.

        Raises:
            BudgetExceeded: one of them refuses; nothing is changed.
            StorageError: it cannot be said whether they have room.
        """
        now = _now()
        reservation = Reservation(
            call_id=reservation_id,
            amount_nano_usd=amount,
            charges=self.charges(budgets),
            expires_at=now + self._hold_ms,
        )
        refusals = await self._store.reserve(reservation, now=now)
        if refusals:
            named = {budget.name: budget for budget in budgets}
            raise self._exceeded([(named[refusal.budget], refusal) for refusal in refusals], amount)

    def _exceeded(self, refused: list[tuple[Budget, Refusal]], amount: int) -> BudgetExceeded:
        # The budget that ends the call, if there is one, is the one to tell of.
        budget, refusal = min(refused, key=lambda pair: pair[0].at_limit is AtLimit.DOWNGRADE)
        held = (
            f", {dollars(refusal.reserved_nano_usd)} is held for calls under way"
            if refusal.reserved_nano_usd
            else ""
        )
        return BudgetExceeded(
            f"{described(budget)} has no room for this call: {dollars(refusal.spent_nano_usd)} of"
            f" {dollars(refusal.limit_nano_usd)} is spent{held}, and the call may cost up to"
            f" {dollars(amount)}. {self._resets(budget)}; until then lower max_tokens, choose a cheaper"
            " model or raise the limit.",
            downgrade=budget.at_limit is AtLimit.DOWNGRADE,
        )

    def _resets(self, budget: Budget) -> str:
        end = period_end(budget.period, _now(), self.time_zone)
        if end is None:
            return "It never begins anew"
        local = datetime.fromtimestamp(end / 1000, self.time_zone)
        return f"It begins anew at {local:%Y-%m-%d %H:%M} ({self.time_zone})"

    async def alerts(self, crossed: tuple[Crossing, ...]) -> list[Alert]:
        """What is to be told of these crossings, as far as their budgets are still there."""
        known = {budget.name: budget for budget in await self._store.budgets()} if crossed else {}
        return [
            await self._alert(known[crossing.budget], crossing)
            for crossing in crossed
            if crossing.budget in known
        ]

    async def _alert(self, budget: Budget, crossing: Crossing) -> Alert:
        account = await self._store.budget_spent(budget.name, crossing.period_start, now=_now())
        spent, limit = account.spent_nano_usd, budget.limit_nano_usd
        return Alert(
            budget=budget,
            percent=crossing.percent,
            period_start=crossing.period_start,
            period_end=period_end(budget.period, crossing.period_start, self.time_zone),
            spent_nano_usd=spent,
            message=f"{described(budget)} has reached {crossing.percent}% of its limit:"
            f" {dollars(spent)} of {dollars(limit)} is spent.",
        )

    async def overrun(self, budgets: tuple[Budget, ...]) -> list[str]:
        """A sentence for each of the budgets that only warn and have nothing left."""
        told: list[str] = []
        for budget in budgets:
            if budget.at_limit is AtLimit.WARN:
                spent = (await self.account(budget)).spent_nano_usd
                if spent >= budget.limit_nano_usd:
                    limit = dollars(budget.limit_nano_usd)
                    told.append(f"{described(budget)} is used up: {dollars(spent)} of {limit} is spent.")
        return told


@dataclass(frozen=True, slots=True)
class Tab:
    """What one piece of upstream work has reserved."""

    spending: Spending
    journal: Journal
    budgets: tuple[Budget, ...]
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    unreserved: list[Charge] = field(default_factory=list[Charge])
    """What to charge though it could not be reserved: of budgets that only warn."""

    @asynccontextmanager
    async def admit(self, candidate: Candidate, payload: Payload) -> AsyncGenerator[None]:
        """Around an attempt: reserve the most that it can cost, beside what the earlier ones did and what
        those under way can.

        Raises:
            BudgetExceeded: a budget refuses.
            StorageError: it cannot be said whether a budget would refuse.
        """
        if not self.budgets:
            yield
            return
        # Only budgets that warn get to see a model without a price.
        worst = most(candidate, payload) or 0
        self.journal.held += worst
        try:
            await self._reserve()
            yield
        finally:
            self.journal.held -= worst

    async def _reserve(self) -> None:
        try:
            await self.spending.reserve(self.id, self.budgets, self.journal.cost + self.journal.held)
        except StorageError as error:
            if any(budget.at_limit is not AtLimit.WARN for budget in self.budgets):
                raise
            _log.warning("A call goes on though its budgets cannot be looked into: %s", error)
            self.unreserved[:] = self.spending.charges(self.budgets)

    async def serve(
        self,
        plan: Plan,
        serve: Callable[[Plan], Awaitable[Served]],
        cheaper: Callable[[Plan], Awaitable[Plan]],
    ) -> Served:
        """What `serve` makes of `plan`, or where budgets ask for that, of the `cheaper` one.

        Raises:
            BudgetExceeded: a budget refuses, the cheapest model too if it comes to that.
        """
        try:
            return await serve(plan)
        except BudgetExceeded as exceeded:
            cheapest = await cheaper(plan) if exceeded.downgrade else None
            if cheapest is None or not cheapest.candidates:
                raise
            names = " and ".join(
                repr(budget.name) for budget in self.budgets if budget.at_limit is AtLimit.DOWNGRADE
            )
            return replace(await serve(cheapest), downgraded=f"the budget {names} has no room for that")


def budget_of(settings: BudgetSettings) -> Budget:
    """The budget that the settings or a caller mean, as the store keeps it."""
    return Budget(
        name=settings.name,
        scope=settings.scope,
        scope_value=settings.value,
        period=settings.period,
        limit_nano_usd=nano_usd(settings.limit_usd),
        thresholds=settings.thresholds,
        at_limit=settings.at_limit,
    )


def described(budget: Budget) -> str:
    """The budget with whom it is for and for how long, to begin a sentence with."""
    whose = "" if budget.scope is BudgetScope.OVERALL else f" for {budget.scope} {budget.scope_value!r}"
    period = "in total" if budget.period is BudgetPeriod.TOTAL else f"a {budget.period}"
    return f"The budget {budget.name!r} ({dollars(budget.limit_nano_usd)} {period}{whose})"


def dollars(nano_usd: int) -> str:
    """USD with cents, and more digits where the amount is below one."""
    return f"${usd(nano_usd):,.2f}" if nano_usd >= 10**9 or nano_usd == 0 else f"${usd(nano_usd):.6f}"


def _applies(budget: Budget, request: ChatRequest) -> bool:
    return budget.scope is BudgetScope.OVERALL or getattr(request, budget.scope) == budget.scope_value


def most(candidate: Candidate, payload: Payload) -> int | None:
    """The most that one attempt can cost, in nano-USD; None if the price is unknown."""
    return most_cost(payload, candidate.model, candidate.max_tokens)


def _now() -> int:
    return int(datetime.now(UTC).timestamp() * 1000)
