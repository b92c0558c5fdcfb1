//! Standard output and standard error: what goes where, in which form, and colour only where a person looks.
//!
//! With `--json` standard output carries JSON and nothing else. A reader that goes away is no error.

use crate::error::Trouble;
use clap::builder::styling::{AnsiColor, Style};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How to talk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    /// JSON on standard output.
    pub(crate) json: bool,
    /// No notes.
    pub(crate) quiet: bool,
    /// More notes.
    pub(crate) verbose: bool,
    mute: bool,
    colour: bool,
    colour_err: bool,
}

/// What a word is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// Fine.
    Good,
    /// Restricted.
    Careful,
    /// Bad or unknown.
    Bad,
    /// Less important.
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default().bold(),
            Self::Careful => AnsiColor::Yellow.on_default().bold(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

impl Out {
    /// Decides by flags, environment and what the streams are.
    pub(crate) fn new(json: bool, quiet: bool, verbose: bool, no_color: bool) -> Self {
        let wants = |choice: anstream::ColorChoice| !no_color && choice != anstream::ColorChoice::Never;
        Self {
            json,
            quiet,
            verbose,
            mute: false,
            colour: !json && wants(anstream::AutoStream::choice(&io::stdout())),
            colour_err: wants(anstream::AutoStream::choice(&io::stderr())),
        }
    }

    /// The same, with nothing on standard output: for a step inside another command.
    pub(crate) const fn silent(self) -> Self {
        Self { mute: true, ..self }
    }

    /// Whether a person watches standard output.
    pub(crate) fn terminal(self) -> bool {
        !self.json && io::stdout().is_terminal()
    }

    /// A word in its colour, for standard output.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        paint(self.colour, tone, text)
    }

    /// One line for people; nothing with `--json`. `false` when nobody reads any more.
    pub(crate) fn line(self, text: &str) -> bool {
        self.json || self.mute || put(&mut io::stdout().lock(), &[text.as_bytes(), b"\n"])
    }

    /// Text as it is, in either form (completions, probe answers). `false` when nobody reads any more.
    pub(crate) fn raw(self, text: &[u8]) -> bool {
        put(&mut io::stdout().lock(), &[text])
    }

    /// One JSON document; nothing without `--json`. `false` when nobody reads any more.
    pub(crate) fn doc<T: Serialize>(self, doc: &T) -> bool {
        if !self.json || self.mute {
            return true;
        }
        match serde_json::to_vec(doc) {
            Ok(text) => put(&mut io::stdout().lock(), &[&text, b"\n"]),
            Err(error) => {
                self.note(&format!("cannot write this document: {error}"));
                false
            }
        }
    }

    /// A remark on standard error, unless `-q`.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            put(&mut io::stderr().lock(), &[text.as_bytes(), b"\n"]);
        }
    }

    /// A remark on standard error with `-v`.
    pub(crate) fn detail(self, text: &str) {
        if self.verbose {
            self.note(text);
        }
    }

    /// An error: three lines on standard error, or one document on standard output.
    pub(crate) fn trouble(self, trouble: &Trouble) {
        if self.json {
            self.doc(&trouble.doc());
            return;
        }
        let text = format!("{} {trouble}\n", paint(self.colour_err, Tone::Bad, "error:"));
        put(&mut io::stderr().lock(), &[text.as_bytes()]);
        self.advice(trouble);
    }

    /// The two sentences after what happened: what it means for risk, and what to do next.
    pub(crate) fn advice(self, trouble: &Trouble) {
        let head = |tone, word| paint(self.colour_err, tone, word);
        let text = format!(
            "{} {}\n{} {}\n",
            head(Tone::Careful, "risk: "),
            trouble.risk(),
            head(Tone::Good, "next: "),
            trouble.next(),
        );
        put(&mut io::stderr().lock(), &[text.as_bytes()]);
    }
}

fn paint(colour: bool, tone: Tone, text: &str) -> String {
    let style = tone.style();
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

fn put(stream: &mut dyn Write, parts: &[&[u8]]) -> bool {
    parts.iter().all(|part| stream.write_all(part).is_ok()) && stream.flush().is_ok()
}

/// Text from files and peers, with everything a terminal would obey taken out.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\r\nc\td"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\td");
    }
}
