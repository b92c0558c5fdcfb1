//! `engine probe sign|wire`: one JSON value per line in, one per line out; no state, no home, no network.

use crate::cli::ProbeCommand;
use crate::error::{FAILED, Trouble};
use crate::out::Out;
use holdfast_venue_reduce::probe;
use serde::Serialize;
use std::io::{BufRead, Read};

/// Longest line taken.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize)]
struct ErrorLine<'a> {
    error: &'a str,
}

/// Answers until the input ends. Exit code 1 when a line had no answer.
pub(crate) fn run(out: Out, command: ProbeCommand) -> Result<u8, Trouble> {
    if matches!(command, ProbeCommand::Born) {
        // The same point in the program's life at which a worker notes when it was born.
        let born = holdfast_ipc::clock::now().0;
        out.raw(format!("{born}\n").as_bytes());
        return Ok(0);
    }
    let test_keys = std::env::var_os("ENGINE_PROBE_TEST_KEY").is_some_and(|v| v == "1");
    let mut input = std::io::stdin().lock();
    let mut code = 0;
    loop {
        let mut line = String::new();
        let read = (&mut input)
            .take(LINE_BYTES_MAX)
            .read_line(&mut line)
            .map_err(|source| Trouble::Os { what: "read standard input", source })?;
        if read == 0 {
            return Ok(code);
        }
        if line.trim().is_empty() {
            continue;
        }
        let answer = match command {
            ProbeCommand::Sign => probe::sign(&line, test_keys),
            ProbeCommand::Wire => probe::wire(&line),
            // Answered above: it reads nothing.
            ProbeCommand::Born => return Ok(code),
        };
        let text = match answer {
            Ok(text) => text,
            Err(error) => {
                code = FAILED;
                let words = error.to_string();
                serde_json::to_string(&ErrorLine { error: &words })
                    .map_err(|e| Trouble::Os { what: "write an answer", source: e.into() })?
            }
        };
        if !out.raw(format!("{text}\n").as_bytes()) {
            return Ok(code);
        }
    }
}
