//! The venue's own Python client, unchanged, pointed at the loopback URL: read, place, cancel, close.
//!
//! Needs a Python with `hyperliquid-python-sdk`; name it in `HOLDFAST_SDK_PYTHON` or have it as `python3`. Skipped, and
//! said so, where there is none.

use crate::support::{Key, fresh};
use serde_json::json;
use std::process::Command;

const SCRIPT: &str = r#"
import sys, time, threading
from eth_account import Account
from hyperliquid.info import Info
from hyperliquid.exchange import Exchange
from hyperliquid.utils.types import Cloid
url, key = sys.argv[1], sys.argv[2]
wallet = Account.from_key(key)
info = Info(url, skip_ws=False)
ex = Exchange(wallet, url, perp_dexs=["", "alt"])
me = wallet.address
assert float(info.user_state(me)["marginSummary"]["accountValue"]) == 5000.0
mid = float(info.all_mids()["BTC"])
heard = threading.Event()
info.subscribe({"type": "userFills", "user": me}, lambda m: None if m["data"].get("isSnapshot") else heard.set())
info.subscribe({"type": "l2Book", "coin": "BTC"}, lambda m: None)
cloid = Cloid.from_str("0x000000000000000000000000000000aa")
r = ex.order("BTC", True, 0.01, round(mid * 0.9), {"limit": {"tif": "Gtc"}}, cloid=cloid)
oid = r["response"]["data"]["statuses"][0]["resting"]["oid"]
assert [o["oid"] for o in info.open_orders(me)] == [oid]
assert info.query_order_by_cloid(me, cloid)["order"]["status"] == "open"
r = ex.modify_order(oid, "BTC", True, 0.02, round(mid * 0.91), {"limit": {"tif": "Gtc"}}, cloid=cloid)
oid = r["response"]["data"]["statuses"][0]["resting"]["oid"]
assert ex.cancel("BTC", oid)["response"]["data"]["statuses"] == ["success"]
assert info.open_orders(me) == []
assert ex.update_leverage(5, "BTC")["status"] == "ok"
ex.set_expires_after(int(time.time() * 1000) + 20000)
r = ex.market_open("BTC", True, 0.01)
assert r["response"]["data"]["statuses"][0]["filled"]["totalSz"] == "0.01", r
assert float(info.user_state(me)["assetPositions"][0]["position"]["szi"]) == 0.01
r = ex.market_close("BTC")
assert "filled" in r["response"]["data"]["statuses"][0], r
assert info.user_state(me)["assetPositions"] == []
assert len(info.user_fills(me)) == 2
gold = ex.info.name_to_coin["alt:GOLD"]
r = ex.order(gold, True, 0.1, 2700.0, {"limit": {"tif": "Ioc"}})
assert "filled" in r["response"]["data"]["statuses"][0], r
r = ex.order(gold, False, 0.1, 2500.0, {"limit": {"tif": "Ioc"}}, reduce_only=True)
assert "filled" in r["response"]["data"]["statuses"][0], r
r = ex.schedule_cancel(int(time.time() * 1000) + 30000)
assert r["status"] == "err" and "enough volume" in r["response"], r
assert heard.wait(10)
info.disconnect_websocket()
print("sdk ok")
"#;

#[test]
fn the_official_client_trades_here_unchanged() {
    let python = std::env::var("HOLDFAST_SDK_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has_it = Command::new(&python).args(["-c", "import hyperliquid"]).output().is_ok_and(|o| o.status.success());
    if !has_it {
        eprintln!("SKIPPED: no Python with hyperliquid-python-sdk (set HOLDFAST_SDK_PYTHON)");
        return;
    }
    let (_home, venue) = fresh();
    let key = format!("0x{}", "2a".repeat(32));
    venue.api.json("POST", "/sim/account", &json!({"address": Key::new(0x2a).address(), "usd": "5000"}));
    let out = Command::new(python).args(["-c", SCRIPT, &format!("http://{}", venue.api.addr), &key]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("sdk ok"), "{text}");
    venue.stop();
}
