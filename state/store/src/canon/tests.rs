//! The form against its vectors, against a second encoder written another way, and against every kind of misspelling.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

fn text<T: serde::Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(encode(value).unwrap()).unwrap()
}

#[test]
#[expect(clippy::excessive_precision, reason = "the written digits are the point")]
fn floats_have_the_form_of_the_vectors() {
    let vectors = "0.0 -0.0 1.0 100.0 1000000000000000.0 123456789012345.0 9999999999999998.0 1e+16 1.5e+16 1e+22 1e+23 \
                   0.001 0.0001 0.00012345 1e-05 1e-07 5e-324 0.1 0.6666666666666666 40500.0 1777646400.123456 1e+100 \
                   1.7976931348623157e+308";
    for vector in vectors.split_whitespace() {
        let value: f64 = vector.parse().unwrap();
        assert_eq!(text(&value), vector);
        assert_eq!(is_canonical(vector.as_bytes()), Ok(()), "{vector}");
    }
    // Exactly between two shortest forms: the even one.
    for (value, form) in [
        (1_061_116_699_427_810.25, "1061116699427810.2"),
        (1_061_116_699_427_810.75, "1061116699427810.8"),
        (4_503_599_627_370_495.5, "4503599627370495.5"),
        (1_125_899_906_842_624.25, "1125899906842624.2"),
        (5.684_341_886_080_802e-14, "5.684341886080802e-14"),
        (9_007_199_254_740_993.0, "9007199254740992.0"),
    ] {
        assert_eq!(text(&value), form);
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(encode(&value), Err(CanonError::NotANumber));
    }
}

#[test]
fn keys_are_sorted_by_code_point_and_text_is_ascii() {
    let object = json!({"～": 1, "😀": 2, "a": 3, "Z": 4, "ä": 5});
    let expect = r#"{"Z":4,"a":3,"\u00e4":5,"\uff5e":1,"\ud83d\ude00":2}"#;
    assert_eq!(text(&object), expect);
    assert_eq!(is_canonical(expect.as_bytes()), Ok(()));
    let awkward = "\"\\/\u{8}\t\n\u{c}\r\u{1}\u{1f}\u{7f}\u{80}~ \u{2028}";
    assert_eq!(text(awkward), r#""\"\\/\b\t\n\f\r\u0001\u001f\u007f\u0080~ \u2028""#);
}

#[test]
fn integers_keep_every_digit_and_are_not_floats() {
    assert_eq!(text(&[i128::MIN, 0, i128::from(u64::MAX)]), format!("[{},0,{}]", i128::MIN, u64::MAX));
    assert_eq!(text(&100_000_000_000_000_000_000_u128), "100000000000000000000");
    assert_eq!((text(&1), text(&1.0)), ("1".to_owned(), "1.0".to_owned()));
    let long = "9".repeat(300);
    assert_eq!(is_canonical(long.as_bytes()), Ok(()));
}

#[derive(serde::Serialize)]
enum Shape {
    Unit,
    New(u8),
    Pair(u8, u8),
    Named { z: u8, a: Option<u8> },
}

#[test]
fn types_have_the_form_of_their_json() {
    for (shape, expect) in [
        (Shape::Unit, r#""Unit""#),
        (Shape::New(1), r#"{"New":1}"#),
        (Shape::Pair(1, 2), r#"{"Pair":[1,2]}"#),
        (Shape::Named { z: 1, a: None }, r#"{"Named":{"a":null,"z":1}}"#),
    ] {
        assert_eq!(text(&shape), expect);
    }
    let numbered: std::collections::BTreeMap<u8, u8> = [(1, 2)].into();
    assert_eq!(encode(&numbered), Err(CanonError::Key));
    let deep = (0..DEPTH_MAX).fold(json!(1), |inner, _| json!([inner]));
    assert!(encode(&deep).is_ok() && is_canonical(&encode(&deep).unwrap()).is_ok());
    assert_eq!(encode(&json!([deep])), Err(CanonError::Depth));
    let deeper = ["[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1)].concat();
    assert_eq!(is_canonical(deeper.as_bytes()).unwrap_err().what, "nested too deep");
}

/// A map that says the same key twice.
struct Twice;
impl serde::Serialize for Twice {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map([("a", 1), ("b", 2), ("a", 3)])
    }
}

#[test]
fn a_key_that_stands_twice_is_refused_everywhere() {
    assert_eq!(encode(&Twice), Err(CanonError::Duplicate("a".to_owned())));
    assert!(parse(br#"{"a":1,"b":{"c":1,"c":1}}"#).is_err());
    assert_eq!(parse(br#"{"b":1,"a":[1.5,null]}"#).unwrap(), json!({"a":[1.5,null],"b":1}));
}

#[test]
fn every_misspelling_is_found_at_its_byte() {
    for (bad, byte) in [
        (&br#"{"a":1, "b":2}"#[..], 7),
        (br#"{"b":1,"a":2}"#, 7),
        (br#"{"a":1,"a":2}"#, 7),
        (br#"{"\ud83d\ude00":1,"\uff5e":2}"#, 18),
        (br#"{"a":1} "#, 7),
        (br#" {"a":1}"#, 0),
        (br#"{"a":01}"#, 5),
        (br#"{"a":-0}"#, 5),
        (br#"{"a":-}"#, 5),
        (br#"{"a":+1}"#, 5),
        (br#"{"a":1E5}"#, 5),
        (br#"{"a":1e5}"#, 5),
        (br#"{"a":0.10}"#, 5),
        (br#"{"a":1.}"#, 5),
        (br#"{"a":.5}"#, 5),
        (br#"{"a":1e+999}"#, 5),
        (br#"{"a":0.10000000000000001}"#, 5),
        (br#"{"a":1000000.00}"#, 5),
        (br#"{"a":NaN}"#, 5),
        (br#"{"a":Infinity}"#, 5),
        (br#"{"a":"\/"}"#, 6),
        (br#"{"a":"\u0041"}"#, 6),
        (br#"{"a":"\u000a"}"#, 6),
        (br#"{"a":"\u00E4"}"#, 6),
        (br#"{"a":"\ud83d"}"#, 6),
        (br#"{"a":"\ude00"}"#, 6),
        ("{\"a\":\"ä\"}".as_bytes(), 6),
        (b"{\"a\":\"\x7f\"}", 6),
        (b"{\"a\":\"\x00\"}", 6),
        (br#"{"a":tru}"#, 5),
        (br#"{"a":1,}"#, 7),
        (br#"{"a" :1}"#, 4),
        (br#"[1,]"#, 3),
        (br#"["a"#, 3),
        (br#"{"a""#, 4),
        (b"{", 1),
        (b"", 0),
    ] {
        let found = is_canonical(bad).unwrap_err();
        assert_eq!(found.byte, byte, "{} {found}", String::from_utf8_lossy(bad));
    }
}

/// A second encoder: characters one by one, keys as vectors of code points, the float's digits by trying.
fn second(value: &Value) -> String {
    fn quoted(text: &str) -> String {
        let units: String = text
            .encode_utf16()
            .map(|unit| match unit {
                8 => "\\b".into(),
                9 => "\\t".into(),
                10 => "\\n".into(),
                12 => "\\f".into(),
                13 => "\\r".into(),
                34 => "\\\"".into(),
                92 => "\\\\".into(),
                32..=126 => char::from_u32(unit.into()).unwrap().to_string(),
                _ => format!("\\u{unit:04x}"),
            })
            .collect();
        format!("\"{units}\"")
    }
    fn float(value: f64) -> String {
        // As many digits as are needed, correctly rounded, half to even.
        let text = (0..17).map(|digits| format!("{value:.digits$e}")).find(|text| text.parse() == Ok(value)).unwrap();
        let (sign, text) = text.strip_prefix('-').map_or(("", &text[..]), |rest| ("-", rest));
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = format!("{whole}{fraction}");
        let mut e = exponent.parse::<i32>().unwrap() + i32::try_from(whole.len()).unwrap() - 1;
        let zeros = digits.len() - digits.trim_start_matches('0').len();
        if zeros == digits.len() {
            return format!("{sign}0.0");
        }
        digits = digits.trim_start_matches('0').trim_end_matches('0').to_owned();
        e -= i32::try_from(zeros).unwrap();
        if (-4..16).contains(&e) {
            let padded = if e < 0 {
                format!("{}{digits}", "0".repeat(usize::try_from(-e).unwrap()))
            } else {
                format!("{digits:0<width$}", width = usize::try_from(e).unwrap() + 2)
            };
            let (whole, fraction) = padded.split_at(usize::try_from(e.max(0)).unwrap() + 1);
            return format!("{sign}{whole}.{}", if fraction.is_empty() { "0" } else { fraction });
        }
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        format!("{sign}{first}{point}{rest}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
    }
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) if n.is_f64() => float(n.as_f64().unwrap()),
        Value::Number(n) => n.to_string(),
        Value::String(s) => quoted(s),
        Value::Array(items) => format!("[{}]", items.iter().map(second).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut members: Vec<(Vec<u32>, String)> = map
                .iter()
                .map(|(k, v)| (k.chars().map(u32::from).collect(), format!("{}:{}", quoted(k), second(v))))
                .collect();
            members.sort();
            format!("{{{}}}", members.into_iter().map(|m| m.1).collect::<Vec<_>>().join(","))
        }
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![any::<char>(), prop::char::range('\0', '\u{ff}'), Just('😀'), Just('～'), Just('"'), Just('\\')],
        0..6,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_filter_map("finite", |bits| Number::from_f64(f64::from_bits(bits)).map(Value::Number)),
        (any::<i32>(), -30..30_i32).prop_map(|(n, e)| Value::from(f64::from(n) * 10_f64.powi(e))),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..6)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_encoders_agree_and_what_they_write_is_canonical_and_reads_back(value in any_value()) {
        let written = text(&value);
        prop_assert_eq!(&written, &second(&value));
        prop_assert_eq!(is_canonical(written.as_bytes()), Ok(()));
        prop_assert_eq!(parse(written.as_bytes()).unwrap(), value);
    }

    #[test]
    fn no_bytes_make_the_checker_panic_and_what_it_accepts_is_what_the_encoder_writes(
        value in any_value(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut bytes = encode(&value).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if is_canonical(&bytes).is_ok() {
            let read = parse(&bytes).unwrap();
            // Longer integers are read as floats.
            if !bytes.windows(19).any(|w| w.iter().all(u8::is_ascii_digit)) {
                prop_assert_eq!(encode(&read).unwrap(), bytes);
            }
        }
    }
}
