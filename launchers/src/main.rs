//! The `engine` command: one binary that is the operator's hand, the supervisor and every worker.
//!
//! It decides nothing about risk: it asks a running tree through its sockets, or starts one. Commands that reduce risk
//! never ask for confirmation; the one that raises it needs a typed phrase.

mod account;
mod audit;
mod carry;
mod cli;
mod config;
mod doctor;
mod error;
mod growth;
mod home;
mod latched;
mod link;
mod logs;
mod out;
mod preflight;
mod probe;
mod process;
mod risk;
mod run;
mod status;
mod worker;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use cli::{Cli, Command};
use error::Trouble;
use holdfast_core::command::ControlRequest;
use out::Out;
use serde::Serialize;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let out = Out::new(cli.json, cli.quiet, cli.verbose > 0, cli.no_color);
    ExitCode::from(dispatch(out, cli).unwrap_or_else(|trouble| {
        out.trouble(&trouble);
        trouble.exit()
    }))
}

fn dispatch(out: Out, cli: Cli) -> Result<u8, Trouble> {
    // What needs no home comes first.
    let home = match &cli.command {
        Command::Worker { role } => return Ok(worker::run(*role)),
        Command::Probe(command) => return probe::run(out, *command),
        Command::Completions { shell } => return Ok(completions(out, *shell)),
        Command::Start(_)
        | Command::Stop(_)
        | Command::Restart(_)
        | Command::Mode
        | Command::Status { .. }
        | Command::Kill(_)
        | Command::Flatten
        | Command::Pause
        | Command::Resume { .. }
        | Command::Heartbeat
        | Command::Logs(_)
        | Command::Config(_)
        | Command::Audit(_)
        | Command::Doctor
        | Command::Backup(_)
        | Command::Migrate(_)
        | Command::Supervise(_) => home::resolve(cli.home)?,
    };
    match cli.command {
        Command::Start(args) => run::start::start(out, &home, &args),
        Command::Stop(args) => run::stop::stop(out, &home, &args),
        Command::Restart(args) => run::restart(out, &home, &args),
        Command::Mode => status::mode(out, &home),
        Command::Status { watch } => status::status(out, &home, watch),
        Command::Kill(args) => risk::kill(out, &home, &args),
        Command::Flatten => risk::flatten(out, &home),
        Command::Pause => risk::simple(out, &home, &ControlRequest::Pause {}),
        Command::Resume { confirm } => risk::simple(out, &home, &ControlRequest::Resume { confirm }),
        Command::Heartbeat => risk::simple(out, &home, &ControlRequest::Heartbeat {}),
        Command::Logs(args) => logs::logs(out, &home, &args),
        Command::Config(command) => config::command::run(out, &home, &command),
        Command::Audit(command) => audit::run(out, &home, &command),
        Command::Doctor => doctor::doctor(out, &home),
        Command::Backup(command) => carry::backup(out, &home, &command),
        Command::Migrate(command) => carry::migrate(out, &home, &command),
        Command::Supervise(flags) => run::detach::supervise(&home, &flags),
        // Returned above.
        Command::Worker { .. } | Command::Probe(_) | Command::Completions { .. } => Ok(error::USAGE),
    }
}

fn completions(out: Out, shell: clap_complete::Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "engine", &mut script);
    if out.json {
        out.doc(&TextDoc { schema: "holdfast.completions.v1", text: &String::from_utf8_lossy(&script) });
    } else {
        out.raw(&script);
    }
    0
}

/// An answer that is text by nature, with `--json`.
#[derive(Serialize)]
struct TextDoc<'a> {
    schema: &'static str,
    text: &'a str,
}

/// Help and version are answers; anything else is a usage error, in the form that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().take_while(|arg| arg != "--").any(|arg| arg == "--json");
    let out = Out::new(json, false, false, json);
    let text = error.render().to_string();
    // Without a command clap shows the help and means an error.
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && asked {
        let schema = if error.kind() == ErrorKind::DisplayVersion { "holdfast.version.v1" } else { "holdfast.help.v1" };
        out.doc(&TextDoc { schema, text: text.trim_end() });
        return ExitCode::SUCCESS;
    }
    if asked {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let nothing_typed = error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    let trouble = Trouble::Usage(if nothing_typed { "a command is needed" } else { first }.to_owned());
    if !json {
        // What clap found comes first, with its tips; then the sentences of every error.
        let _ = error.print();
        out.advice(&trouble);
    } else {
        out.trouble(&trouble);
    }
    ExitCode::from(error::USAGE)
}
