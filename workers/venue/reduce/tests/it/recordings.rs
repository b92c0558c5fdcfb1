//! The whole recordings of the shared folder, where it is present.

use holdfast_venue_reduce::read::parse_fills;
use holdfast_venue_reduce::socket::{WireMessage, parse_message};
use std::path::PathBuf;

fn shared(path: &str) -> Option<Vec<u8>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../../shared");
    let file = std::fs::read(root.join(path)).ok();
    if file.is_none() {
        eprintln!("SKIPPED: ../shared not present ({path})");
    }
    file
}

#[test]
fn every_message_of_the_socket_recording() {
    let Some(file) = shared("market-data/hyperliquid-ws-btc-20250126.txt") else { return };
    let (mut books, mut trades) = (0, 0);
    for line in String::from_utf8(file).unwrap().lines() {
        let (_, message) = line.split_once(' ').unwrap();
        let message = parse_message(message.as_bytes()).unwrap();
        if let WireMessage::L2Book(book) = message {
            assert!(book.mid().is_some());
            books += 1;
        } else if let WireMessage::Trades(_) = message {
            trades += 1;
        } else {
            panic!("{message:?}");
        }
    }
    assert_eq!((books, trades), (46, 9));
}

#[test]
fn every_recorded_fill() {
    let Some(file) = shared("market-data/hyperliquid-info/userFills.json") else { return };
    let fills = parse_fills(&file).unwrap();
    assert_eq!(fills.len(), 500);
    assert!(fills.iter().all(|fill| fill.end_position().is_some()));
}
