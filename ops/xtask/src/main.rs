//! Development tasks: `cargo xtask check | test | tree | bless | perf | ci`.

use std::process::{Command, ExitCode};

const USAGE: &str = "\
cargo xtask TASK
  check   format and lints
  test    everything but the whole-tree tests
  tree    the whole-tree tests on the real binary
  bless   rewrite golden files; review the diff like code
  perf    the figures of ops/SPEC.md, on a release build
  ci      exactly what CI runs";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    let done = match task.as_str() {
        "check" => {
            cargo(&["fmt", "--all", "--check"], &[], &[])
                && cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], &[], &[])
        }
        "test" => cargo(&["test", "--locked", "--workspace", "--exclude", "holdfast-tests"], &[], &rest),
        "tree" => cargo(&["test", "--locked", "--package", "holdfast-tests"], &[], &rest),
        "bless" => cargo(
            &["test", "--locked", "--workspace", "--exclude", "holdfast-tests"],
            &[("HOLDFAST_BLESS", "1")],
            &rest,
        ),
        // Two builds: built together with the harness, the program would get the features of both.
        "perf" => {
            let perf = ["run", "--locked", "--release", "--package", "holdfast-tests", "--bin", "perf", "--"];
            cargo(&["build", "--locked", "--release", "--package", "holdfast"], &[], &[]) && cargo(&perf, &[], &rest)
        }
        "ci" => run(Command::new("bash").arg(".ci/run")),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cargo(args: &[&str], env: &[(&str, &str)], rest: &[String]) -> bool {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo).args(args).args(rest).envs(env.iter().copied()))
}

fn run(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{command:?}: {error}");
            false
        }
    }
}
