//! Looking for secrets in what is about to leave the host. Names the place, never the secret.
//!
//! * What is in this home's own key files is found wherever it stands, as text in either case and as raw bytes.
//! * 64 hex digits in a row are a private key unless what stands before them says that they are a checksum. An address
//!   (40 digits) or a client order id (32) is neither.
//! * Private key blocks, and tokens by the forms their issuers give them.

use super::error::BundleError;
use super::files;
use super::manifest::Form;
use regex::bytes::{Regex, RegexBuilder};
use std::io::Read;
use std::path::Path;

/// Bytes looked at together.
const BLOCK: usize = 256 * 1024;
/// Bytes of the block before that are looked at again: a secret may lie across.
const CARRY: usize = 8 * 1024;
/// How much of what stands before a number is read.
const BEFORE: usize = 96;

/// Words after which 64 hex digits are a checksum.
const CHECKSUMS: [&str; 9] =
    ["sum", "prev", "sha256", "sha-256", "hash", "checksum", "digest", "merkle_root", "idempotency_key"];
/// Ends of such words.
const CHECKSUM_ENDS: [&str; 3] = ["_sha256", "_hash", "_checksum"];

/// What is looked for, and what it is called.
const FORMS: [(&str, &str); 11] = [
    (r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----", "a private key block"),
    (r"\b(AKIA|ASIA)[0-9A-Z]{16}\b", "a cloud access key"),
    (r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{22})", "a GitHub token"),
    (r"\bglpat-[A-Za-z0-9_-]{20}", "a GitLab token"),
    (r"\bxox[abeoprs]-[A-Za-z0-9-]{10}", "a Slack token"),
    (r"\bsk([-_](live|test|ant|proj))?[-_][A-Za-z0-9_-]{20}", "an API key"),
    (r"\bAIza[0-9A-Za-z_-]{35}", "a Google API key"),
    (r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b", "a Telegram bot token"),
    (r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10}", "a signed web token"),
    (r"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{20}", "a bearer token"),
    (
        r#"(?i)\b([a-z0-9]+[_-])*(api[_-]?key|secret|secret[_-]?key|private[_-]?key|token|password|passwd|mnemonic|seed[_-]?phrase)["']?\s*[:=]\s*["']?[A-Za-z0-9+/=_.~-]{12}"#,
        "a value that is called a secret",
    ),
];

/// The scan, made once for a bundle.
pub(super) struct Scanner {
    forms: Vec<(Regex, &'static str)>,
    digits: Regex,
}

fn expression(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).unicode(false).build().map_err(|e| e.to_string())
}

impl Scanner {
    /// Takes the files whose content must not be found anywhere. An absent one is fine.
    pub(super) fn new(secrets: &[std::path::PathBuf]) -> Result<Self, BundleError> {
        let wrong = |why: String| BundleError::bad(Path::new("secret scan"), why);
        let mut forms = Vec::new();
        for path in secrets.iter().filter(|path| path.exists()) {
            let text = files::read(path, 64 * 1024)?;
            for own in literals(&text).map_err(wrong)? {
                forms.push((expression(&own).map_err(wrong)?, "the content of a key or token file of this home"));
            }
        }
        for (form, name) in FORMS {
            forms.push((expression(form).map_err(wrong)?, name));
        }
        Ok(Self { forms, digits: expression("[0-9A-Fa-f]{64,}").map_err(wrong)? })
    }

    /// Reads a file; an error names `shown`, the place the owner knows it by.
    pub(super) fn file(&self, path: &Path, shown: &Path, form: Form) -> Result<(), BundleError> {
        let mut file = files::open(path)?;
        let (mut window, mut fresh, mut lines) = (Vec::new(), 0_usize, 0_u64);
        loop {
            let begin = window.len();
            window.resize(begin + BLOCK, 0);
            let read = match file.read(window.get_mut(begin..).unwrap_or_default()) {
                Ok(read) => read,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {
                    window.truncate(begin);
                    continue;
                }
                Err(e) => return Err(BundleError::io("read it", path)(e)),
            };
            window.truncate(begin + read);
            if let Some((at, what)) = self.first(&window, fresh, read == 0, form) {
                let line = lines.saturating_add(count(window.get(..at).unwrap_or_default())).saturating_add(1);
                return Err(BundleError::Secret { path: shown.to_owned(), line, what });
            }
            if read == 0 {
                return Ok(());
            }
            let drop = window.len().saturating_sub(CARRY);
            lines = lines.saturating_add(count(window.get(..drop).unwrap_or_default()));
            window.drain(..drop);
            fresh = window.len();
        }
    }

    /// The first secret. One that ended before `fresh` was judged with the block before; one that ends with the window
    /// is judged with the next block, unless this is the end.
    fn first(&self, window: &[u8], fresh: usize, over: bool, form: Form) -> Option<(usize, &'static str)> {
        let due = |end: usize| end >= fresh && (over || end < window.len());
        let known = self.forms.iter().filter_map(|(expression, what)| {
            expression.find_iter(window).find(|found| due(found.end())).map(|found| (found.start(), *what))
        });
        let key = self.digits.find_iter(window).find(|found| {
            let before = window.get(found.start().saturating_sub(BEFORE)..found.start()).unwrap_or_default();
            found.len() == 64
                && due(found.end())
                && found.as_bytes().iter().any(|digit| *digit != b'0')
                && !checksum(before, form)
        });
        known.chain(key.map(|found| (found.start(), "what looks like a private key (64 hex digits)"))).min()
    }
}

fn count(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').fold(0, |count: u64, _| count.saturating_add(1))
}

/// Longest secret that is looked for literally, in bytes.
const SECRET_BYTES_MAX: usize = 512;

/// Expressions for the content of a secret file. Every long run of hex digits in it, as text and as raw bytes; a file
/// without one is a secret as a whole, if it is text of a sensible length.
fn literals(content: &[u8]) -> Result<Vec<String>, String> {
    let runs = expression("[0-9A-Fa-f]{32,}")?;
    let found: Vec<String> =
        runs.find_iter(content).filter(|run| run.len() <= SECRET_BYTES_MAX).map(|run| digits(run.as_bytes())).collect();
    let text = std::str::from_utf8(content).unwrap_or_default().trim();
    Ok(if found.is_empty() && (16..=SECRET_BYTES_MAX).contains(&text.len()) {
        vec![regex::escape(text)]
    } else {
        found
    })
}

/// Hex digits as text in either case, or as the bytes they mean.
fn digits(run: &[u8]) -> String {
    let text: String = run.iter().map(|digit| char::from(*digit)).collect();
    let mut expression = format!("(?i:{text})");
    if run.len().is_multiple_of(2) {
        expression.push('|');
        for pair in text.as_bytes().chunks_exact(2) {
            expression.push_str("\\x");
            expression.extend(pair.iter().map(|digit| char::from(*digit)));
        }
    }
    expression
}

/// Whether a list of keys is open where this line ends.
fn among_keys(line: &[u8]) -> bool {
    const LIST: &[u8] = br#""keys":["#;
    let list = line.windows(LIST.len()).rposition(|bytes| bytes == LIST);
    list.is_some_and(|at| !line[at + LIST.len()..].contains(&b']'))
}

/// Whether what stands before 64 hex digits says that they are a checksum.
fn checksum(before: &[u8], form: Form) -> bool {
    // On the same line only.
    let line = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    // Idempotency keys are hashes, and journal and bus are verified line by line. This home's own secrets are looked for
    // by themselves, wherever they stand.
    if matches!(form, Form::Journal | Form::Bus) && (line.ends_with(br#""key":""#) || among_keys(line)) {
        return true;
    }
    let text = String::from_utf8_lossy(line).to_ascii_lowercase();
    let text = text.strip_suffix("0x").unwrap_or(&text);
    if text.ends_with("sha256:") {
        return true;
    }
    let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let named = text.trim_end_matches(end);
    // Something must stand between a name and its value.
    let word = named.rsplit(end).next().unwrap_or_default();
    named.len() < text.len() && (CHECKSUMS.contains(&word) || CHECKSUM_ENDS.iter().any(|ending| word.ends_with(ending)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318";

    fn scan(text: &[u8], form: Form) -> Option<(u64, &'static str)> {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join("engine.key");
        std::fs::write(&own, format!("0x{}\n", "ab12".repeat(16))).unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, text).unwrap();
        match Scanner::new(&[own, dir.path().join("absent")]).unwrap().file(&path, Path::new("shown"), form) {
            Ok(()) => None,
            Err(BundleError::Secret { path, line, what }) => {
                assert_eq!(path, Path::new("shown"));
                Some((line, what))
            }
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_a_secret_is_found_and_named_by_its_line() {
        let own = "AB12".repeat(16);
        let raw = [&b"x"[..], &[0xab, 0x12].repeat(16), b"y"].concat();
        let cases: Vec<(&str, Vec<u8>, u64)> = vec![
            ("a bare key", KEY.into(), 1),
            ("with 0x", format!("a\nb\n  0x{KEY}\n").into(), 3),
            ("in capitals", KEY.to_uppercase().into(), 1),
            ("called key", format!("{{\"key\":\"{KEY}\"}}").into(), 1),
            ("called key in an intent of no journal", format!("{{\"intent\":{{\"key\":\"{KEY}\"}}}}").into(), 1),
            ("a checksum's name on the line before", format!("sum\n{KEY}").into(), 1 + 1),
            ("a name without anything between", format!("_sum{KEY}").into(), 1),
            ("our own, though it is called a checksum", format!("\"sum\":\"{own}\"").into(), 1),
            ("our own as raw bytes", raw, 1),
            ("PEM", b"\n-----BEGIN EC PRIVATE KEY-----\nMHc".to_vec(), 2),
            ("GitHub", format!("x ghp_{}", "a1B2".repeat(9)).into(), 1),
            ("AWS", b"id AKIAIOSFODNN7EXAMPLE.".to_vec(), 1),
            ("Telegram", format!("12345678:AA{}", "x".repeat(33)).into(), 1),
            ("bearer", format!("Authorization: Bearer {}", "t".repeat(24)).into(), 1),
            ("JSON member", br#"{"watcher_token": "abcdefghijkl"}"#.to_vec(), 1),
            ("TOML", b"a = 1\napi_key = \"abcd-efgh-ijkl\"\n".to_vec(), 2),
        ];
        for (name, text, line) in cases {
            let found = scan(&text, Form::Plain);
            assert_eq!(found.map(|(line, _)| line), Some(line), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_key_file_of_any_form_gives_what_to_look_for() {
        let cases: [(&[u8], usize); 6] = [
            (b"0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318\n", 1),
            (
                b"\0\xff{\"key\":\"4c0883a69102937d6231471b5dbb6204\"}\0{\"key\":\"1c0883a69102937d6231471b5dbb6204\"}",
                2,
            ),
            (b"correct horse battery staple (1+1)\n", 1),
            (b"short", 0),
            (b"", 0),
            (&[0; 16384], 0),
        ];
        for (content, count) in cases {
            let found = literals(content).unwrap();
            assert_eq!(found.len(), count, "{found:?}");
            assert!(found.iter().all(|own| expression(own).unwrap().is_match(content)), "{found:?}");
        }
    }

    #[test]
    fn what_is_none_passes() {
        let cases: Vec<(&str, String, Form)> = vec![
            ("an address", "0x5f987bea46cc8b1b08ac8d49cd4e0be13d53f1b9".into(), Form::Plain),
            ("a client order id", "0x0123456789abcdef0123456789abcdef".into(), Form::Plain),
            ("a longer number", format!("{KEY}00"), Form::Plain),
            ("63 digits", KEY[1..].into(), Form::Plain),
            ("the first link", "0".repeat(64), Form::Plain),
            ("a journal line", format!(r#"{{"seq":1,"prev":"{KEY}","sum":"{KEY}"}}"#), Form::Journal),
            ("an intent", format!(r#"{{"entry":{{"intent":{{"key":"{KEY}"}}}}}}"#), Form::Journal),
            ("an intent on the bus", format!(r#"{{"payload":{{"coin":"BTC","key":"{KEY}","px":"1"}}}}"#), Form::Bus),
            ("keys carried over", format!(r#"{{"continued":{{"keys":["{KEY}","{KEY}"]}}}}"#), Form::Journal),
            ("a bus line", format!(r#"{{"checksum":"sha256:{KEY}","previous_checksum":null}}"#), Form::Bus),
            ("a report", format!("config_sha256: `{KEY}`\n- config hash: {KEY}\n| sha256 | {KEY} |"), Form::Plain),
            ("a certificate", "-----BEGIN CERTIFICATE-----".into(), Form::Plain),
            ("settings", "max_position_usd = \"1000000000000\"\ntoken = \"\"\npassword = \"***\"".into(), Form::Plain),
        ];
        for (name, text, form) in cases {
            assert_eq!(scan(text.as_bytes(), form), None, "{name}");
        }
    }

    #[test]
    fn a_secret_is_found_wherever_the_blocks_meet_and_a_checksum_stays_one() {
        for shift in [0, 1, 20, 63, 64, 65, 70, 100] {
            let before = "x\n".repeat((BLOCK - shift) / 2);
            let found = scan(format!("{before}{KEY}\n").as_bytes(), Form::Plain);
            let line = count(before.as_bytes()) + 1;
            assert_eq!(found.map(|(line, _)| line), Some(line), "{shift} before the edge");
            let sum = format!("{before}\"sum\":\"{KEY}\"\n{}", "y\n".repeat(BLOCK));
            assert_eq!(scan(sum.as_bytes(), Form::Plain), None, "{shift} before the edge");
        }
    }
}
