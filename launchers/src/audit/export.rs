//! `engine audit export`: the record as one document, or as one file of its raw lines, streamed to standard output.

use super::place;
use super::verify::audit;
use crate::cli::ExportArgs;
use crate::error::{FAILED, Trouble};
use crate::out::Out;
use holdfast_ipc::bootstrap::Home;
use holdfast_store::bus::{self, Questions, Wanted};
use std::io::{BufWriter, Write, stdout};

pub(super) fn export(out: Out, home: &Home, args: &ExportArgs) -> Result<u8, Trouble> {
    let no_record = || Trouble::NoRecord { home: home.root().to_owned() };
    let (source, keys) = place::of_home(home)?.ok_or_else(no_record)?;
    let first = match (args.limit, args.from) {
        (Some(limit), None) => {
            let last = args.to.unwrap_or(u64::MAX).min(audit(&source, keys.as_ref(), &Questions::default())?.events);
            last.saturating_sub(limit).saturating_add(1)
        }
        (_, from) => from.unwrap_or(1),
    };
    let last = args.limit.map_or(u64::MAX, |limit| first.saturating_add(limit).saturating_sub(1));
    let events = first..=last.min(args.to.unwrap_or(u64::MAX));
    let mut stream = BufWriter::new(stdout().lock());
    let written = if args.single_file {
        bus::export_single_file(&source, keys.as_ref(), &mut stream)
    } else {
        let wanted = Wanted { events, types: args.types.clone(), public: args.public };
        bus::export(&source, keys.as_ref(), &wanted, &mut stream)
    };
    let report = written.map_err(Trouble::Bus)?;
    stream.flush().map_err(|source| Trouble::Os { what: "write the export", source })?;
    match report.finding {
        None => Ok(0),
        // The document says so too, and it is on standard output already.
        Some(finding) => {
            out.note(&format!("the record does not hold: {finding}"));
            Ok(FAILED)
        }
    }
}
