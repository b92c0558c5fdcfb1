//! `engine audit replay`: the decision journal read from its first entry, and what it adds up to.

use crate::error::Trouble;
use crate::out::{Out, Tone, plain};
use holdfast_ipc::bootstrap::Home;
use holdfast_store::journal::{self, JournalError, Replay};
use serde::Serialize;
use std::fmt::Display;

#[derive(Serialize)]
struct Doc<'a> {
    schema: &'static str,
    #[serde(flatten)]
    replay: &'a Replay,
}

pub(super) fn replay(out: Out, home: &Home) -> Result<u8, Trouble> {
    if !journal::exists(&home.decisions()).map_err(Trouble::Decisions)? {
        return Err(Trouble::NoRecord { home: home.root().to_owned() });
    }
    let replay = journal::replay(&home.decisions()).map_err(|error| match error {
        JournalError::Broken { .. } => Trouble::Evidence { what: plain(&error.to_string()) },
        JournalError::Io { .. }
        | JournalError::Busy { .. }
        | JournalError::Latched { .. }
        | JournalError::Refused { .. } => Trouble::Decisions(error),
    })?;
    out.doc(&Doc { schema: "holdfast.audit.replay.v1", replay: &replay });
    show(out, &replay);
    Ok(0)
}

fn show(out: Out, replay: &Replay) {
    let Replay { segments, entries, head, torn_at, intents, outcomes, settled, unsettled, .. } = replay;
    let head = head.map_or_else(|| "none".to_owned(), |head| head.to_string());
    out.line(&format!("{} {entries} entries in {segments} files, last {head}", out.paint(Tone::Good, "ok ")));
    if let Some(byte) = torn_at {
        let word = out.paint(Tone::Careful, "unfinished");
        out.line(&format!("{word} last line at byte {byte}: never acknowledged, cut by the next start"));
    }
    out.line(&format!("intents      {} to open, {} to close", intents.open, intents.close));
    out.line(&format!(
        "outcomes     {} filled, {} resting, {} refused, {} not sent, {} unknown; {settled} settled by asking",
        outcomes.filled, outcomes.resting, outcomes.refused, outcomes.not_sent, outcomes.unknown
    ));
    let open: Vec<String> =
        unsettled.iter().map(|intent| plain(&format!("{} {}", intent.coin, intent.cloid))).collect();
    out.line(&format!("unsettled    {}", list(&open)));
    out.line(&format!("rejected     {}", counts(&replay.rejected)));
    out.line(&format!("by the venue {}", counts(&replay.refused)));
    for (coin, fills) in &replay.fills {
        out.line(&plain(&format!(
            "fills        {coin}: {}, bought {}, sold {}, realised {} USD, fees {} USD",
            fills.count, fills.bought, fills.sold, fills.closed_pnl_usd, fills.fees_usd
        )));
    }
    let held: Vec<String> = replay.positions.iter().map(|(coin, size)| plain(&format!("{coin} {size}"))).collect();
    out.line(&format!("positions    {}", list(&held)));
    out.line(&format!("keys         {} remembered", replay.keys.len()));
}

fn list(words: &[String]) -> String {
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}

fn counts<K: Display>(map: &std::collections::BTreeMap<K, u64>) -> String {
    list(&map.iter().map(|(what, count)| plain(&format!("{count} × {what}"))).collect::<Vec<_>>())
}
