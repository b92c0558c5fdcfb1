-- The ledger, version 1. Money is decimal text, instants are milliseconds since 1970 UTC, checksums are 32-byte blobs.
-- Rows that are evidence are never edited or deleted: triggers hold that.
PRAGMA application_id = 1212566610; -- "HFLR"

CREATE TABLE meta (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    state_dir   TEXT NOT NULL CHECK (length(state_dir) = 32 AND state_dir NOT GLOB '*[^0-9a-f]*'),
    exported_to TEXT,
    exported_ms INTEGER,
    CHECK ((exported_to IS NULL) = (exported_ms IS NULL))
) STRICT;
INSERT INTO meta (id, state_dir) VALUES (1, lower(hex(randomblob(16))));

CREATE TABLE latches (
    name     TEXT PRIMARY KEY CHECK (name IN
        ('kill', 'pause', 'open_permission', 'owed', 'emergency', 'operator_deadman')),
    in_force INTEGER NOT NULL CHECK (in_force IN (0, 1)),
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,
    cause    TEXT NOT NULL,
    reason   TEXT,
    detail   TEXT
) STRICT;

CREATE TABLE loss_baselines (
    utc_day           INTEGER PRIMARY KEY,
    baseline_usd      TEXT NOT NULL,
    recorded_ms       INTEGER NOT NULL,
    breach_equity_usd TEXT,
    breach_epoch      INTEGER,
    breach_lifted_ms  INTEGER,
    CHECK ((breach_equity_usd IS NULL) = (breach_epoch IS NULL)),
    CHECK (breach_lifted_ms IS NULL OR breach_epoch IS NOT NULL)
) STRICT;

CREATE TABLE restart_budgets (
    id      INTEGER PRIMARY KEY,
    role    TEXT NOT NULL CHECK (role IN ('venue', 'deadman', 'sensor', 'api', 'engine')),
    wall_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX restart_budgets_role ON restart_budgets (role, wall_ms);

-- Opening and closing are two facts; neither is ever edited.
CREATE TABLE manual_positions (
    id                   INTEGER PRIMARY KEY AUTOINCREMENT,
    opened_ms            INTEGER NOT NULL,
    venue                TEXT NOT NULL CHECK (trim(venue) <> ''),
    description          TEXT NOT NULL CHECK (trim(description) <> ''),
    expected_maturity_ms INTEGER,
    payload_json         TEXT NOT NULL CHECK (json_valid(payload_json) AND json_type(payload_json) = 'object')
) STRICT;
CREATE TABLE manual_position_closings (
    position_id            INTEGER PRIMARY KEY REFERENCES manual_positions (id),
    closed_ms              INTEGER NOT NULL,
    closed_before_maturity INTEGER NOT NULL CHECK (closed_before_maturity IN (0, 1))
) STRICT;

-- One row; each deadline is a fact of its own, `phase` and `next_action_ms` are derived and only for readers.
CREATE TABLE lifecycle_state (
    id                INTEGER PRIMARY KEY CHECK (id = 1),
    phase             TEXT NOT NULL CHECK (phase IN
        ('idle', 'watching', 'cooldown', 'error_backoff', 'manual_exposure_active', 'manual_exposure_review')),
    next_action_ms    INTEGER,
    cooldown_until_ms INTEGER,
    backoff_until_ms  INTEGER,
    last_run_id       TEXT,
    message           TEXT NOT NULL,
    updated_ms        INTEGER NOT NULL,
    updated_by        TEXT NOT NULL
) STRICT;

CREATE TABLE lifecycle_events (
    id           INTEGER PRIMARY KEY,
    at_ms        INTEGER NOT NULL,
    event_type   TEXT NOT NULL CHECK (event_type <> ''),
    payload_json TEXT NOT NULL CHECK (json_valid(payload_json) AND json_type(payload_json) = 'object'),
    prev         BLOB NOT NULL CHECK (length(prev) = 32),
    sum          BLOB NOT NULL UNIQUE CHECK (length(sum) = 32)
) STRICT;

CREATE TABLE runs (
    run_id          TEXT PRIMARY KEY,
    started_ms      INTEGER NOT NULL,
    ended_ms        INTEGER,
    status          TEXT NOT NULL CHECK (status IN ('running', 'completed', 'partial', 'partial_failed', 'failed',
                        'interrupted', 'recovered_after_crash', 'retroactive')),
    planned_cycles  INTEGER NOT NULL CHECK (planned_cycles >= 0),
    interval_s      INTEGER NOT NULL CHECK (interval_s >= 0),
    good_cycles     INTEGER NOT NULL DEFAULT 0 CHECK (good_cycles >= 0),
    failed_cycles   INTEGER NOT NULL DEFAULT 0 CHECK (failed_cycles >= 0),
    last_error      TEXT,
    hypothesis      TEXT NOT NULL,
    knobs_json      TEXT NOT NULL CHECK (json_valid(knobs_json)),
    config_sha256   BLOB NOT NULL CHECK (length(config_sha256) = 32),
    report          TEXT,
    CHECK ((status = 'running') = (ended_ms IS NULL))
) STRICT;

CREATE TABLE samples (
    id           INTEGER PRIMARY KEY,
    run_id       TEXT REFERENCES runs (run_id),
    kind         TEXT NOT NULL CHECK (kind <> ''),
    wall_ms      INTEGER NOT NULL,
    payload_json TEXT NOT NULL CHECK (json_valid(payload_json))
) STRICT;
CREATE INDEX samples_run ON samples (run_id, wall_ms);

CREATE TABLE ratchet_steps (
    id              INTEGER PRIMARY KEY,
    at_ms           INTEGER NOT NULL,
    knob            TEXT NOT NULL CHECK (knob IN
        ('depth_target_ph', 'overpay_cushion', 'canary_spend_btc', 'duration_minutes', 'timing_window')),
    old_value       TEXT NOT NULL,
    new_value       TEXT NOT NULL,
    hypothesis      TEXT NOT NULL,
    evidence_json   TEXT NOT NULL CHECK (json_valid(evidence_json) AND json_type(evidence_json) = 'array'),
    config_before   BLOB NOT NULL CHECK (length(config_before) = 32),
    config_after    BLOB NOT NULL CHECK (length(config_after) = 32)
) STRICT;

CREATE TABLE ocean_snapshots (
    id                   INTEGER PRIMARY KEY,
    at_ms                INTEGER NOT NULL,
    pool_hashrate_eh_s   TEXT NOT NULL,
    network_difficulty_t TEXT NOT NULL,
    share_log_window_t   TEXT,
    avg_block_time_hours TEXT,
    source               TEXT NOT NULL
) STRICT;
CREATE INDEX ocean_snapshots_at ON ocean_snapshots (at_ms);

CREATE TABLE market_snapshots (
    id                               INTEGER PRIMARY KEY,
    at_ms                            INTEGER NOT NULL,
    best_price_btc_per_eh_day        TEXT,
    best_bid_btc_per_eh_day          TEXT,
    best_ask_btc_per_eh_day          TEXT,
    fillable_price_btc_per_eh_day    TEXT,
    fillable_target_ph               TEXT,
    fillable_available_ph            TEXT,
    suggested_bid_btc_per_eh_day     TEXT,
    suggested_overpay_btc_per_eh_day TEXT,
    last_price_btc_per_eh_day        TEXT,
    total_hashrate_eh_s              TEXT,
    available_hashrate_eh_s          TEXT,
    status                           TEXT,
    source                           TEXT NOT NULL,
    basis                            TEXT NOT NULL CHECK (basis IN ('live', 'manual_import'))
) STRICT;
CREATE INDEX market_snapshots_at ON market_snapshots (at_ms);

CREATE TABLE proposals (
    id                           INTEGER PRIMARY KEY,
    at_ms                        INTEGER NOT NULL,
    run_id                       TEXT REFERENCES runs (run_id),
    cycle                        INTEGER CHECK (cycle >= 0),
    ocean_id                     INTEGER REFERENCES ocean_snapshots (id),
    market_id                    INTEGER REFERENCES market_snapshots (id),
    action                       TEXT NOT NULL CHECK (action IN ('observe', 'manual_canary', 'manual_bid')),
    reason                       TEXT NOT NULL,
    price_btc_per_eh_day         TEXT,
    spend_btc                    TEXT,
    duration_minutes             INTEGER CHECK (duration_minutes >= 0),
    breakeven_btc_per_eh_day     TEXT,
    expected_reward_btc          TEXT,
    expected_net_btc             TEXT,
    score                        TEXT,
    maturity_note                TEXT NOT NULL,
    basis                        TEXT NOT NULL CHECK (basis IN ('live', 'manual_import'))
) STRICT;
CREATE INDEX proposals_at ON proposals (at_ms);

CREATE TRIGGER manual_positions_kept BEFORE UPDATE ON manual_positions
BEGIN SELECT RAISE(ABORT, 'a recorded position is never edited'); END;
CREATE TRIGGER manual_positions_stay BEFORE DELETE ON manual_positions
BEGIN SELECT RAISE(ABORT, 'a recorded position is never deleted'); END;
CREATE TRIGGER closings_kept BEFORE UPDATE ON manual_position_closings
BEGIN SELECT RAISE(ABORT, 'a recorded closing is never edited'); END;
CREATE TRIGGER closings_stay BEFORE DELETE ON manual_position_closings
BEGIN SELECT RAISE(ABORT, 'a recorded closing is never deleted'); END;
CREATE TRIGGER events_kept BEFORE UPDATE ON lifecycle_events
BEGIN SELECT RAISE(ABORT, 'a lifecycle event is never edited'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON lifecycle_events
BEGIN SELECT RAISE(ABORT, 'a lifecycle event is never deleted'); END;
