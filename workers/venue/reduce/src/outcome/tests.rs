//! Every answer shape of the spec, and the shapes it does not know.

use super::*;

fn read(body: &str, expect: Expect) -> Vec<Outcome> {
    read_answer(200, body.as_bytes(), expect)
}

fn order(statuses: &str, n: usize) -> Vec<Outcome> {
    read(
        &format!(r#"{{"status":"ok","response":{{"type":"order","data":{{"statuses":[{statuses}]}}}}}}"#),
        Expect::Orders(n),
    )
}

fn cancel(statuses: &str, n: usize) -> Vec<Outcome> {
    read(
        &format!(r#"{{"status":"ok","response":{{"type":"cancel","data":{{"statuses":[{statuses}]}}}}}}"#),
        Expect::Cancels(n),
    )
}

#[test]
fn each_entry_is_read_by_itself() {
    let all = order(
        r#"{"resting":{"oid":77738308,"cloid":"0x00000000000000000000000000000001"}},
           {"filled":{"totalSz":"0.02","avgPx":"1891.4","oid":569017209592}},
           {"error":"Order must have minimum value of $10. asset=4"},"waitingForFill","waitingForTrigger","later",{"new":1}"#,
        7,
    );
    assert_eq!(all[0], Outcome::Accepted(Accepted::Resting { oid: Oid(77_738_308) }));
    let (total_sz, avg_px) = ("0.02".parse().unwrap(), "1891.4".parse().unwrap());
    assert_eq!(all[1], Outcome::Accepted(Accepted::Filled { oid: Oid(569_017_209_592), total_sz, avg_px }));
    assert_eq!(all[2].refusal(), Some(RefusalClass::TooSmall));
    assert_eq!(all[3], Outcome::Accepted(Accepted::Waiting));
    assert_eq!(all[4], Outcome::Accepted(Accepted::Waiting));
    assert!(all[5].is_unknown() && all[6].is_unknown());
}

#[test]
fn cancels() {
    let all = cancel(r#""success",{"error":"Order was never placed, already canceled, or filled. asset=0"}"#, 2);
    assert_eq!(all[0], Outcome::Accepted(Accepted::Done));
    assert_eq!(all[1].refusal(), Some(RefusalClass::CancelGone));
    assert!(cancel(r#"{"resting":{"oid":1}}"#, 1)[0].is_unknown());
}

#[test]
fn one_error_for_a_batch_refuses_all_and_any_other_mismatch_is_unknown() {
    let all = order(r#"{"error":"Insufficient margin to place order."}"#, 3);
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|o| o.refusal() == Some(RefusalClass::Margin)));
    for statuses in [r#"{"resting":{"oid":1}}"#, r#"{"error":"x"},{"resting":{"oid":1}}"#, ""] {
        assert!(order(statuses, 3).iter().all(Outcome::is_unknown), "{statuses}");
    }
    assert!(order(r#"{"error":"x"},{"error":"x"}"#, 1).iter().all(Outcome::is_unknown));
}

#[test]
fn whole_answers() {
    for (body, expect) in [
        (r#"{"status":"err","response":"Invalid nonce: duplicate nonce 5"}"#, None),
        (r#"{"status":"err","response":"Invalid nonce: too low"}"#, Some(RefusalClass::Nonce)),
        (r#"{"status":"err","response":"Action already expired"}"#, Some(RefusalClass::Expired)),
        (
            r#"{"status":"err","response":"User or API Wallet 0xabc does not exist."}"#,
            Some(RefusalClass::Misconfigured),
        ),
        (
            r#"{"status":"err","response":"Must deposit before performing actions. User: 0xabc"}"#,
            Some(RefusalClass::Misconfigured),
        ),
        (
            r#"{"status":"err","response":"Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $373.47205."}"#,
            Some(RefusalClass::DeadManVolume),
        ),
        (r#"{"status":"err","response":"something new"}"#, Some(RefusalClass::Other)),
        (r#"{"status":"maybe","response":"x"}"#, None),
        (r#"{"status":"ok"}"#, None),
        (r#"{"status":"ok","response":{"type":"order"}}"#, None),
        ("", None),
        ("<html>bad gateway</html>", None),
        ("null", None),
    ] {
        let outcome = read(body, Expect::Orders(2));
        assert_eq!(outcome.len(), 2, "{body}");
        for one in outcome {
            assert_eq!(one.refusal(), expect, "{body}");
            assert!(!one.is_accepted());
        }
    }
    let plain = r#"{"status":"ok","response":{"type":"default"}}"#;
    assert_eq!(read(plain, Expect::Plain), [Outcome::Accepted(Accepted::Done)]);
    assert!(read(plain, Expect::Orders(1))[0].is_unknown());
}

#[test]
fn other_http_statuses_are_never_refusals() {
    for status in [201, 302, 400, 422, 429, 500, 502, 503] {
        let body = br#"{"status":"err","response":"no"}"#;
        assert!(read_answer(status, body, Expect::Orders(1))[0].is_unknown(), "{status}");
    }
    assert_eq!(read_answer(429, b"", Expect::Plain), [Outcome::Unknown(Unknown::Throttled)]);
}

#[test]
fn long_texts_are_cut_on_a_character_boundary() {
    assert!(cut(&"ü".repeat(400)).len() <= 300);
}
