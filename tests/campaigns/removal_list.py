"""The protections that are taken out one at a time, and the test that must notice each (see `removals`)."""

from __future__ import annotations

from typing import NamedTuple


class Edit(NamedTuple):
    """`text` stands once in `path`; `becomes` is what takes its place."""

    path: str
    text: str
    becomes: str


class Removal(NamedTuple):
    """One protection: its first edit, the node of pytest that must notice, and `more` edits where it is asked for in
    several places, so that one alone would be made up for by the others."""

    name: str
    path: str
    text: str
    becomes: str
    test: str
    more: tuple[Edit, ...] = ()

    @property
    def edits(self) -> tuple[Edit, ...]:
        return (Edit(self.path, self.text, self.becomes), *self.more)


ENGINE, DOMAIN, SCENARIOS = "core/engine", "core/domain", "tests/scenarios"

REMOVALS = (
    Removal(
        "guardian",
        "core/assembly.py",
        "    orders.listen(protection.on_events)\n",
        "",
        f"{SCENARIOS}/test_stops.py::test_the_third_refusal_of_a_stop_flattens_that_position_alone",
    ),
    Removal(
        "stop-reduces-only",
        f"{ENGINE}/stop_orders.py",
        "            quantity=quantity,\n            reduce_only=True,\n",
        "            quantity=quantity,\n            reduce_only=False,\n",
        f"{SCENARIOS}/test_wave.py::test_a_wave_becomes_protected_positions",
    ),
    Removal(
        "close-reduces-only",
        f"{ENGINE}/closer.py",
        "            reduce_only=True,\n",
        "            reduce_only=False,\n",
        f"{SCENARIOS}/test_exits.py::test_each_step_is_taken_once_and_together_they_are_the_position",
    ),
    Removal(
        "intent-before-wire",
        f"{ENGINE}/order_dispatch.py",
        "            await self._write(intents, journal_wait)\n",
        "            self._books.soon([IntentRecord(intent=intent, time_ms=0) for intent in intents])\n",
        "tests/engine/test_order_manager.py::test_an_entry_is_registered_then_durable_then_sent",
    ),
    Removal(
        "foretold-only-by-a-row-on-disk",
        f"{ENGINE}/order_dispatch.py",
        " and stop.client_order_id not in self._unwritten",
        "",
        "tests/engine/test_foretold.py::test_where_that_row_is_not_known_to_be_on_disk_the_next_waits_for_its_own",
    ),
    Removal(
        "unwritten-closes-are-known-by-name",
        "core/orchestrator.py",
        ", *engine.closer.unnoted(known)]",
        "]",
        "tests/catalogue/test_jrn.py::test_a_close_that_left_unwritten_is_booked_by_the_next_run_and_is_nobody_elses",
    ),
    Removal(
        "known-id-not-sent-again",
        f"{ENGINE}/order_dispatch.py",
        "for a in approved if self._state.order(a.value.client_order_id) is None}",
        "for a in approved}",
        "tests/engine/test_order_manager.py::test_submitting_a_known_id_sends_nothing",
    ),
    Removal(
        "last-word",
        f"{ENGINE}/risk_guard.py",
        "        orders.last_word.give(self.objection)\n",
        "",
        "tests/engine/test_last_word.py::test_a_pause_keeps_back_an_entry_that_waits_for_its_turn",
    ),
    Removal(
        "reservation",
        f"{ENGINE}/risk_guard.py",
        "        self._reserved[intent.client_order_id] = (intent.instrument, notional)\n        self.pauses",
        "        self.pauses",
        "tests/engine/test_risk_guard.py::test_no_wave_however_large_exceeds_a_limit",
    ),
    Removal(
        "positions-limit",
        f"{DOMAIN}/risk.py",
        "    if usage.positions + 1 <= limits.max_positions:\n",
        "    if True:\n",
        f"{SCENARIOS}/test_bounds.py::test_positions_at_the_limit_leave_no_room_for_another_wave",
    ),
    Removal(
        "exposure-limit",
        f"{DOMAIN}/risk.py",
        "    if usage.exposure + notional <= limits.max_exposure:\n",
        "    if True:\n",
        "tests/catalogue/test_rsk.py::test_a_limit_of_money_acts_where_it_was_configured",
    ),
    Removal(
        "wave-limit",
        f"{ENGINE}/wave_processor.py",
        "        if held[signal.instrument.venue] >= cap.limit:\n            return cap\n",
        "",
        f"{SCENARIOS}/test_being_told.py::test_people_are_told_why_a_wave_opened_less_than_it_brought",
    ),
    Removal(
        "expiry",
        f"{DOMAIN}/screening.py",
        "    if left > 0:\n",
        "    if True:\n",
        f"{SCENARIOS}/test_polled_waves.py::test_signals_that_expired_while_nobody_ran_are_refused",
        (
            Edit(
                f"{ENGINE}/entry.py",
                'signal.expires_at_ms <= facts.now_ms, "it expired"',
                'False, "it expired"',
            ),
            Edit(
                f"{ENGINE}/entry.py",
                "        if expires_ms is not None and late_ms >= 0:\n",
                "        if False:\n",
            ),
        ),
    ),
    Removal(
        "once-only",
        f"{ENGINE}/wave_processor.py",
        "            if key in self._seen:\n",
        "            if False:\n",
        f"{SCENARIOS}/test_restart.py::test_a_signal_told_again_after_a_restart_trades_nothing",
    ),
    Removal(
        "one-position-a-symbol",
        f"{DOMAIN}/screening.py",
        "    if not facts.has_position:\n",
        "    if True:\n",
        f"{SCENARIOS}/test_external_positions.py::test_a_position_found_at_the_start_is_protected_before_anything_is_traded",
        (
            Edit(
                f"{ENGINE}/entry.py",
                'facts.has_position, f"a position',
                'False, f"a position',
            ),
        ),
    ),
    Removal(
        "price-age",
        f"{DOMAIN}/screening.py",
        "    if facts.price_age <= rules.entry_max_age:\n",
        "    if True:\n",
        "tests/engine/test_waves.py::test_an_old_price_refuses_an_entry",
    ),
    Removal(
        "leverage",
        f"{DOMAIN}/screening.py",
        "    if facts.leverage == rules.leverage:\n",
        "    if True:\n",
        "tests/engine/test_waves.py::test_leverage_that_cannot_be_confirmed_refuses_the_entry",
    ),
    Removal(
        "cooldown",
        f"{DOMAIN}/cooldown.py",
        "    if end_ms <= now_ms:\n",
        "    if True:\n",
        f"{SCENARIOS}/test_risk_limits.py::test_what_the_owner_does_by_hand_is_followed_and_not_worked_against",
    ),
    Removal(
        "results-limits",
        f"{ENGINE}/risk_guard.py",
        "            *self.ledger.gates(intent),\n",
        "",
        "tests/catalogue/test_rsk_ways_back.py::test_from_every_blocked_state_a_way_leads_back_to_trading",
    ),
    Removal(
        "venue-pause",
        f"{ENGINE}/risk_guard.py",
        "            self.pauses.gate(venue),\n",
        "",
        "tests/catalogue/test_rsk_venues.py::test_five_errors_in_a_row_pause_entries_and_never_protection",
    ),
    Removal(
        "journal-gate",
        f"{ENGINE}/risk_guard.py",
        "            self._writable(),\n",
        "",
        "tests/engine/test_risk_guard.py::test_an_unwritable_journal_refuses_entries_and_one_that_recovers_admits_them",
    ),
    Removal(
        "kill-file",
        "core/supervision/standing_watches.py",
        "set_killed(exists)",
        "set_killed(False)",
        f"{SCENARIOS}/test_being_told.py::test_the_screen_keeps_naming_a_limit_behind_another_reason",
    ),
    Removal(
        "stream-down",
        f"{ENGINE}/prefetch.py",
        '        elif now - self._live.get(venue, float("-inf")) > STREAM_DOWN_LIMIT_SECONDS:\n',
        "        elif False:\n",
        f"{SCENARIOS}/test_stream_faults.py::test_entries_wait_once_the_stream_was_down_for_thirty_seconds_and_go_on_after",
    ),
    Removal(
        "gap-reconciled",
        "core/assembly.py",
        "    await asyncio.gather(reconciler.reconcile(venue), watch.look(venue))\n",
        "    await watch.look(venue)\n",
        f"{SCENARIOS}/test_restart.py::test_positions_that_closed_while_nobody_ran_are_booked_closed",
    ),
    Removal(
        "periodic-reconciliation",
        f"{ENGINE}/reconciler.py",
        "                self._due.update(venue for venue, turn in turns.items() if turn <= first)\n",
        "                pass\n",
        f"{SCENARIOS}/test_external_positions.py::test_a_position_put_away_without_a_trade_loses_its_stop_within_two_minutes",
    ),
    Removal(
        "second-reading",
        f"{ENGINE}/reconciler.py",
        "            if not agreed or self._busy(mismatch.instrument):\n",
        "            if self._busy(mismatch.instrument):\n",
        "tests/engine/test_reconciler.py::test_two_readings_that_differ_change_nothing",
    ),
    Removal(
        "old-readings",
        f"{ENGINE}/doubts.py",
        "        if evidence.suffices:\n            return True\n",
        "        return True\n",
        f"{SCENARIOS}/test_stale_answers.py::test_a_restart_into_stale_readings_takes_no_stop_away",
    ),
    Removal(
        "sweeping",
        f"{ENGINE}/reconciler.py",
        "            await self._sweep(venue, status)\n",
        "",
        "tests/engine/test_reconciler.py::test_an_orphan_is_cancelled_only_in_the_second_run_that_sees_it",
    ),
    Removal(
        "unknown-orders-asked-for",
        "core/assembly.py",
        "    orders.on_unresolved(inflight.watch)\n",
        "    orders.on_unresolved(lambda _order, _cause: None)\n",
        f"{SCENARIOS}/test_lost_answers.py::test_an_unclear_answer_is_cleared_up_without_sending_again",
    ),
    Removal(
        "stop-deadline",
        f"{ENGINE}/protection_manager.py",
        '            await self._flatten(position, f"no confirmed stop within {self._deadline:g} s")\n',
        "            await asyncio.sleep(1)\n",
        f"{SCENARIOS}/test_stops.py::test_no_position_is_naked_for_ten_seconds_whatever_stops_are_refused",
    ),
    Removal(
        "crossed-stop",
        f"{DOMAIN}/protection.py",
        "    if reference is not None and crossed(position.side, level, reference):\n        return Flatten",
        "    if False:\n        return Flatten",
        f"{SCENARIOS}/test_stops.py::test_a_level_the_market_has_passed_already_is_flattened_not_moved",
    ),
    Removal(
        "fired-stop-watched",
        f"{ENGINE}/protection_manager.py",
        '            await self._flatten(position, "the stop fired and did not fill")\n',
        "            await asyncio.sleep(1)\n",
        "tests/engine/test_protection_manager.py::test_a_stop_that_fired_without_a_fill_flattens_within_a_second",
    ),
    Removal(
        "old-stop-cancelled",
        f"{ENGINE}/protection_manager.py",
        "                self._cancel(self._surplus(key, exact))\n",
        "",
        f"{SCENARIOS}/test_trailing.py::test_a_stop_follows_over_a_restart_and_never_goes_back",
    ),
    Removal(
        "stop-of-closed-cancelled",
        f"{ENGINE}/protection_manager.py",
        "        self._cancel([stop for stop in self._surplus(key, None) if not stop.intent.whole_position])\n",
        "",
        f"{SCENARIOS}/test_exits.py::test_each_step_is_taken_once_and_together_they_are_the_position",
    ),
    Removal(
        "never-loosened",
        f"{DOMAIN}/trailing.py",
        "    if not better(side, wanted, resting):\n        return False\n",
        "",
        "tests/domain/test_trailing.py::test_a_move_is_worth_it_only_when_it_tightens_enough_and_the_last_one_is_over",
    ),
    Removal(
        "native-fallback",
        f"{ENGINE}/native_trailing.py",
        '        self._ours.add(position.id)\n        self._books.note("trailing_fallback"',
        '        self._books.note("trailing_fallback"',
        "tests/engine/test_native_trailing.py::test_what_the_venue_refuses_is_told_once_and_trailed_by_us",
    ),
    Removal(
        "rogue-price",
        f"{DOMAIN}/plausible.py",
        "    return any(near(price, other, percent) for other in others)\n",
        "    return True\n",
        "tests/engine/test_price_watch.py::test_one_rogue_tick_reaches_nobody_and_the_next_good_one_does",
    ),
    Removal(
        "fill-once",
        f"{DOMAIN}/order.py",
        "    if fill.trade_id in order.trade_ids:\n        return order\n",
        "",
        "tests/engine/test_order_manager.py::test_duplicate_fills_are_counted_and_change_nothing",
    ),
    Removal(
        "second-daemon",
        f"{ENGINE}/account_watch.py",
        "                self._unknown_own(event)\n",
        "                pass\n",
        f"{SCENARIOS}/test_second_daemon.py::test_one_that_begins_to_trade_beside_us_is_recognised_by_its_ids",
    ),
    Removal(
        "liquidation-stops-entries",
        f"{ENGINE}/account_watch.py",
        "                self._reduced(event)\n",
        "                pass\n",
        f"{SCENARIOS}/test_external_positions.py::test_a_liquidation_is_booked_alerts_pauses_entries_and_leaves_no_orders",
    ),
    Removal(
        "one-daemon-an-account",
        "core/storage/instance_lock.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        f"{SCENARIOS}/test_start_anywhere.py"
        "::test_a_second_start_from_any_folder_is_refused_without_a_venue_call_and_a_dead_owner_is_no_obstacle",
    ),
    Removal(
        "sound-journal",
        "core/storage/database.py",
        '            sound = answer == ("ok",)\n',
        "            sound = True\n",
        "tests/storage/test_journal_failures.py::test_a_damaged_page_is_found_at_start",
    ),
    Removal(
        "crash-loop",
        "core/orchestrator.py",
        "        last.tell(engine)\n",
        "",
        f"{SCENARIOS}/test_crash_loop.py::test_the_third_abnormal_start_only_protects_until_somebody_resumes",
    ),
)
