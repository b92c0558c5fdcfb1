//! A loopback exchange that speaks the real venue's wire protocol, and the independent witness of every order.

pub mod market;
