//! A reduction is arithmetic: an order whose whole fill, given the position just read and every other live order that
//! could fill first, cannot leave the position larger or of the other sign.
//!
//! `reduce-only` is sent as well, as a second barrier, never as the only one. Other live orders that are themselves
//! reduce-only are not counted (the venue shrinks them with the position, and protective stops must stay until the
//! position is gone); every other order on the closing side is.

use crate::action::{Always, LimitKind, ReduceOrder};
use crate::read::{AccountSnapshot, Asset, OpenOrder};
use crate::wire::{AssetIndex, BadWire, Cloid, Side, Tif, wire_px, wire_sz};
use holdfast_core::limits::ACCOUNT_MAX_AGE;
use holdfast_core::money::{Px, Sz, Szi, Usd};
use holdfast_core::time::{Span, Tick};
use rust_decimal::Decimal;

/// A partial close below this notional is refused by the venue; a close of the whole position is exempt.
pub fn min_partial_notional() -> Usd {
    Usd::new(Decimal::TEN).unwrap_or(Usd::ZERO)
}

/// Why an order is not provably a reduction, or would be refused as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAReduction {
    /// The account read does not cover the dex of this market.
    #[error("the account read does not cover the dex of this market")]
    DexNotRead,
    /// The account read is too old.
    #[error("the account was read {} ms ago; read it again", .0.as_ms())]
    Stale(Span),
    /// Nothing to reduce.
    #[error("no position in this market")]
    Flat,
    /// Other orders on the closing side may fill first; cancel them.
    #[error("other live orders may close {other} first, which leaves room for {room}")]
    OthersMayFill {
        /// Size of other orders on the closing side that are not reduce-only.
        other: Sz,
        /// Largest size that is provably a reduction now.
        room: Sz,
    },
    /// The size asked for is zero or larger than the position.
    #[error("size {0} is not within the position")]
    TooLarge(Sz),
    /// A partial close below the venue's minimum.
    #[error("a partial close of {0} USD is below the venue's minimum of 10")]
    Dust(Usd),
    /// No legal price inside the bound, or a size finer than the market allows.
    #[error("no legal price or size inside the bound")]
    Illegal,
    /// A number has no wire form, or cannot be held.
    #[error("number cannot be sent: {0}")]
    Number(#[from] BadWire),
}

/// What a reduction is computed from. All of it is evidence; none of it is a flag.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The account, just read.
    pub account: &'a AccountSnapshot,
    /// The market.
    pub asset: &'a Asset,
    /// Bound on the price; rounded to a legal price inside it.
    pub bound: Px,
    /// Time in force.
    pub tif: Tif,
    /// Client order id; new for every attempt.
    pub cloid: Cloid,
    /// Now, by the boot clock.
    pub now: Tick,
}

/// An order that can only reduce. Built by [`Reduction::full`], [`Reduction::partial`] and [`Reduction::within`] only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduction {
    coin: String,
    asset: AssetIndex,
    is_buy: bool,
    px: Px,
    sz: Sz,
    tif: Tif,
    cloid: Cloid,
    closes_all: bool,
    read_at: Tick,
}

impl Reduction {
    /// Closes the whole position. Exempt from the minimum notional.
    ///
    /// # Errors
    /// [`NotAReduction`]; `OthersMayFill` when live orders on the closing side could make it flip the position.
    pub fn full(ask: &Ask<'_>) -> Result<Self, NotAReduction> {
        let room = Room::of(ask)?;
        if room.free != room.position.abs() {
            return Err(NotAReduction::OthersMayFill { other: room.other, room: room.free });
        }
        build(ask, &room, room.free)
    }

    /// Closes a part of the position.
    ///
    /// # Errors
    /// [`NotAReduction`].
    pub fn partial(ask: &Ask<'_>, size: Sz) -> Result<Self, NotAReduction> {
        let room = Room::of(ask)?;
        if size.is_zero() || size > room.position.abs() {
            return Err(NotAReduction::TooLarge(size));
        }
        if size > room.free {
            return Err(NotAReduction::OthersMayFill { other: room.other, room: room.free });
        }
        build(ask, &room, size)
    }

    /// Closes as much as is provably a reduction beside the other live orders: the whole position if they allow it.
    ///
    /// # Errors
    /// [`NotAReduction`]; `OthersMayFill` when there is no room at all.
    pub fn within(ask: &Ask<'_>) -> Result<Self, NotAReduction> {
        let room = Room::of(ask)?;
        if room.free.is_zero() {
            return Err(NotAReduction::OthersMayFill { other: room.other, room: room.free });
        }
        build(ask, &room, room.free)
    }

    /// The market.
    #[must_use]
    pub fn coin(&self) -> &str {
        &self.coin
    }

    /// The closing side.
    #[must_use]
    pub const fn side(&self) -> Side {
        Side::of(self.is_buy)
    }

    /// Limit price.
    #[must_use]
    pub const fn px(&self) -> Px {
        self.px
    }

    /// Size.
    #[must_use]
    pub const fn sz(&self) -> Sz {
        self.sz
    }

    /// Time in force.
    #[must_use]
    pub const fn tif(&self) -> Tif {
        self.tif
    }

    /// Client order id.
    #[must_use]
    pub const fn cloid(&self) -> Cloid {
        self.cloid
    }

    /// Whether its whole fill leaves the position flat.
    #[must_use]
    pub const fn closes_all(&self) -> bool {
        self.closes_all
    }

    /// When the account it rests on was read; [`crate::reduce::ReduceClient`] refuses it when too old.
    #[must_use]
    pub const fn read_at(&self) -> Tick {
        self.read_at
    }

    /// Whether the account read it rests on is still fresh.
    #[must_use]
    pub fn is_fresh(&self, now: Tick) -> bool {
        now.since(self.read_at) <= ACCOUNT_MAX_AGE
    }

    pub(crate) fn entry(&self) -> Result<ReduceOrder, BadWire> {
        Ok(ReduceOrder {
            asset: self.asset,
            is_buy: self.is_buy,
            px: wire_px(self.px)?,
            sz: wire_sz(self.sz)?,
            reduce_only: Always,
            kind: LimitKind::of(self.tif),
            cloid: self.cloid,
        })
    }
}

/// How much of a position is free to be closed.
struct Room {
    position: Szi,
    other: Sz,
    free: Sz,
}

impl Room {
    fn of(ask: &Ask<'_>) -> Result<Self, NotAReduction> {
        let age = ask.account.age(ask.now);
        if age > ACCOUNT_MAX_AGE {
            return Err(NotAReduction::Stale(age));
        }
        let view =
            ask.account.dexes().iter().find(|view| view.dex == ask.asset.dex).ok_or(NotAReduction::DexNotRead)?;
        let position = view
            .account
            .positions()
            .iter()
            .find(|position| position.coin() == ask.asset.coin)
            .ok_or(NotAReduction::Flat)?
            .szi();
        let closing = Side::of(position.is_short());
        let orders = ask.account.open_orders();
        let others = orders.iter().filter(|(dex, order)| **dex == ask.asset.dex && order.coin == ask.asset.coin);
        let other = others
            .filter(|(_, order)| counts(order, closing))
            .try_fold(Sz::ZERO, |sum, (_, order)| sum.checked_add(order.sz.max(order.orig_sz_if_unstarted())))
            .ok_or(BadWire::Unreadable)?;
        let free = position.abs().checked_sub(other).unwrap_or(Sz::ZERO);
        Ok(Self { position, other, free })
    }
}

/// Whether another live order can move the position toward and past flat without the venue shrinking it.
fn counts(order: &OpenOrder, closing: Side) -> bool {
    order.side == closing && !order.reduce_only
}

impl OpenOrder {
    /// A trigger that has not fired shows its size in full; one whose size reads zero is taken at its original size.
    fn orig_sz_if_unstarted(&self) -> Sz {
        if self.is_trigger && self.sz.is_zero() { self.orig_sz } else { self.sz }
    }
}

fn build(ask: &Ask<'_>, room: &Room, sz: Sz) -> Result<Reduction, NotAReduction> {
    let side = Side::of(room.position.is_short());
    let px = ask.asset.rule.round_inside(ask.bound, side).ok_or(NotAReduction::Illegal)?;
    if !ask.asset.rule.is_legal_size(sz) {
        return Err(NotAReduction::Illegal);
    }
    let after = room.position.checked_add(sz.signed(side.is_buy())).ok_or(BadWire::Unreadable)?;
    if room.position.increases_to(after) {
        return Err(NotAReduction::TooLarge(sz));
    }
    let closes_all = after.is_zero();
    if !closes_all {
        let notional = sz.notional(px).ok_or(BadWire::Unreadable)?;
        if notional < min_partial_notional() {
            return Err(NotAReduction::Dust(notional));
        }
    }
    let reduction = Reduction {
        coin: ask.asset.coin.clone(),
        asset: ask.asset.index,
        is_buy: side.is_buy(),
        px,
        sz,
        tif: ask.tif,
        cloid: ask.cloid,
        closes_all,
        read_at: ask.account.sent,
    };
    reduction.entry()?;
    Ok(reduction)
}

#[cfg(test)]
mod tests;
