//! The effective configuration, key by key, each with where it came from. Secrets never appear: keys live in files of
//! their own, and a password inside a URL is left out.

use super::Loaded;
use serde::Serialize;
use serde_json::Value;

/// Keys that may be absent, and what their absence means.
const OPTIONAL: [(&str, &str); 5] = [
    ("api.port", "8765, or a free one when that is taken"),
    ("paper.market", "the bundled scenario, then a generated market"),
    ("paper.speed", "what suits the market: 60 for candles, 1 for ticks"),
    ("paper.port", "any free one"),
    ("deadman.operator_hours", "off"),
];

/// The JSON form.
#[derive(Debug, Serialize)]
pub(crate) struct ConfigDoc {
    schema: &'static str,
    path: String,
    from_file: bool,
    values: Vec<Shown>,
}

/// One key.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Shown {
    /// Dotted path.
    pub(crate) key: String,
    /// Its value; null when automatic.
    pub(crate) value: Value,
    /// `default`, `file` or `flag`.
    pub(crate) origin: &'static str,
    /// What an absent value means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) means: Option<&'static str>,
}

impl ConfigDoc {
    pub(crate) fn new(loaded: &Loaded) -> Self {
        let values = values(loaded);
        Self {
            schema: "holdfast.config.v1",
            path: loaded.path.display().to_string(),
            from_file: loaded.from_file,
            values,
        }
    }

    /// As a configuration file with the origins as comments.
    pub(crate) fn text(&self) -> String {
        let source = if self.from_file { "read from" } else { "defaults; no file at" };
        let mut text = format!("# {source} {}\n", self.path);
        let mut section = "";
        for shown in &self.values {
            let (in_section, name) = shown.key.rsplit_once('.').unwrap_or(("", &shown.key));
            if in_section != section {
                text.push_str(&format!("\n[{in_section}]\n"));
                section = in_section;
            }
            match (&shown.value, shown.means) {
                (Value::Null, means) => text.push_str(&format!("# {name} is not set: {}\n", means.unwrap_or("none"))),
                (value, _) => {
                    let line = format!("{name} = {value}");
                    text.push_str(&format!("{line:<43} # {}\n", shown.origin));
                }
            }
        }
        text
    }
}

/// Every key in the order of the structure: the profile, then section by section.
fn values(loaded: &Loaded) -> Vec<Shown> {
    let mut found = Vec::new();
    // For display only: nothing computes with what comes out of here.
    let tree = serde_json::to_value(&loaded.settings).unwrap_or(Value::Null);
    flatten("", &tree, &mut found);
    // Simple keys before sections, as in a file.
    found.sort_by_key(|(key, _)| (key.contains('.'), key.split('.').next().map(str::to_owned)));
    let describe = |(key, value): (String, Value)| {
        let means = OPTIONAL.iter().find(|(k, _)| *k == key && value.is_null()).map(|(_, means)| *means);
        Shown { origin: origin(loaded, &key), value: redact(value), key, means }
    };
    // An absent live section is no key of its own.
    found.into_iter().filter(|(key, value)| !(key == "live" && value.is_null())).map(describe).collect()
}

fn flatten(prefix: &str, value: &Value, found: &mut Vec<(String, Value)>) {
    if let Value::Object(members) = value {
        for (name, member) in members {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            flatten(&key, member, found);
        }
    } else {
        found.push((prefix.to_owned(), value.clone()));
    }
}

fn origin(loaded: &Loaded, key: &str) -> &'static str {
    let flagged = match key {
        "paper.market" => loaded.flags.market.is_some(),
        "paper.speed" => loaded.flags.speed.is_some(),
        "strategy.coin" => loaded.flags.coin.is_some(),
        "paper.seed" => loaded.flags.seed.is_some(),
        _ => false,
    };
    let mut names = key.split('.');
    let first = names.next().and_then(|name| loaded.table.get(name));
    let in_file = names.fold(first, |at, name| at.and_then(|value| value.get(name))).is_some();
    match (flagged, in_file) {
        (true, _) => "flag",
        (false, true) => "file",
        (false, false) => "default",
    }
}

fn redact(value: Value) -> Value {
    let Value::String(text) = &value else { return value };
    let Some((scheme, rest)) = text.split_once("://") else { return value };
    let host_end = rest.find('/').unwrap_or(rest.len());
    match rest[..host_end].rfind('@') {
        Some(at) => Value::String(format!("{scheme}://***@{}", &rest[at + 1..])),
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_left_out() {
        let shown = |text: &str| redact(Value::String(text.into()));
        assert_eq!(shown("https://u:p@host/x@y"), Value::String("https://***@host/x@y".into()));
        assert_eq!(shown("https://host/a@b"), Value::String("https://host/a@b".into()));
        assert_eq!(shown("BTC"), Value::String("BTC".into()));
    }
}
