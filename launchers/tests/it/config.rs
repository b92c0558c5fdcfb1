//! A configuration is taken whole or refused with exit code 78, before anything is started.

use crate::harness::{Place, golden};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn refusals_say_where_and_what_next() {
    let cases = [
        ("unknown-key", "[paper]\nsead = 1\n"),
        ("unknown-section", "profile = \"paper\"\n\n[papre]\nseed = 1\n"),
        ("wrong-type", "[strategy]\ncoin = \"BTC\"\nbar_ms = \"soon\"\n"),
        ("money-as-number", "[limits]\norder_usd = 500.0\n"),
        ("out-of-range", "[strategy]\nfast_bars = 0\nslippage_bps = 501\n\n[limits]\norders_per_minute = 0\n"),
        ("not-toml", "[paper\nseed = 1\n"),
        ("twice", "[paper]\nseed = 1\nseed = 2\n"),
        ("unknown-word", "profile = \"demo\"\n"),
        (
            "live",
            "profile = \"live\"\n[live]\nbase_url = \"https://u:secret@x\"\nnetwork = \"testnet\"\naccount = \"0x0\"\n",
        ),
        ("live-without-section", "profile = \"live\"\n"),
        ("monitor", "profile = \"monitor\"\n"),
        ("huge", "[limits]\norder_usd = 1e308\n"),
    ];
    let mut text = String::new();
    for (name, config) in cases {
        let place = Place::new();
        place.config(config);
        let check = place.run(&["config", "check"]);
        assert_eq!(check.code, 78, "{name}: {check:?}");
        assert!(check.out.is_empty() && !check.err.contains("secret"), "{name}: {check:?}");
        let start = place.run(&["start", "--wait", "1"]);
        assert_eq!((start.code, &start.err), (78, &check.err), "{name}: start and check agree");
        place.assert_untouched();
        text.push_str(&format!("== {name}\n{}", check.err));
    }
    golden("config-refused.txt", &text);
}

#[test]
fn a_refusal_as_json_is_one_document_on_standard_output() {
    let place = Place::new();
    place.config("[paper]\nsead = 1\n");
    let ran = place.run(&["--json", "start"]);
    assert_eq!((ran.code, ran.err.as_str()), (78, ""));
    golden("config-refused.json", &ran.out);
}

#[test]
fn what_others_can_write_is_refused() {
    for mode in [0o620, 0o602, 0o666] {
        let place = Place::new();
        let path = place.config("");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let ran = place.run(&["start", "--wait", "1"]);
        assert_eq!(ran.code, 78, "{ran:?}");
        assert!(ran.err.contains("lets others write it") && ran.err.contains("chmod 600"), "{ran:?}");
        place.assert_untouched();
    }
}

#[test]
fn what_is_no_plain_text_file_is_refused() {
    let place = Place::new();
    fs::create_dir_all(place.home().join("config.toml")).unwrap();
    assert_eq!(place.run(&["start"]).code, 78);
    let place = Place::new();
    fs::create_dir(place.home()).unwrap();
    fs::write(place.home().join("config.toml"), [0xff, 0xfe]).unwrap();
    assert_eq!(place.run(&["config", "show"]).code, 78);
    let place = Place::new();
    fs::create_dir(place.home()).unwrap();
    std::os::unix::fs::symlink("nowhere", place.home().join("config.toml")).unwrap();
    let ran = place.run(&["start"]);
    assert_eq!(ran.code, 1, "a configuration that is missing is not an absent one: {ran:?}");
    place.assert_untouched();
}

#[test]
fn init_writes_the_defaults_once() {
    let place = Place::new();
    let before = place.run(&["config", "show"]);
    assert_eq!(place.run(&["config", "init"]).code, 0);
    let path = place.home().join("config.toml");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let after = place.run(&["config", "show"]);
    let body = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(body(&before.out), body(&after.out), "the commented file changes nothing");
    fs::write(&path, "# mine\n").unwrap();
    let again = place.run(&["config", "init"]);
    assert_eq!(again.code, 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\n");
}

#[test]
fn show_says_where_each_value_came_from() {
    let place = Place::new();
    place.config("[paper]\nseed = 7\nmarket = \"x.csv\"\n[live]\nbase_url = \"https://user:secret@venue\"\nnetwork = \"testnet\"\naccount = \"0xabc\"\n");
    let ran = place.run(&["config", "show", "--speed", "5"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.out.contains("secret"));
    golden("config-show.txt", &ran.out);
    let json = place.run(&["--json", "config", "show", "--speed", "5"]).json();
    let origin = |key: &str| {
        let values = json["values"].as_array().unwrap();
        values.iter().find(|v| v["key"] == key).map(|v| v["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(origin("paper.speed").as_deref(), Some("flag"));
    assert_eq!(origin("paper.seed").as_deref(), Some("file"));
    assert_eq!(origin("api.port").as_deref(), Some("default"));
}
