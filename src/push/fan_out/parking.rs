//! What a stream itself stores of its place in the fan-out.

use super::table::Outlet;

/// Whether a stream is parked, and its outlet. In 4 bytes, because each idle connection has them.
#[derive(Debug, Default)]
pub(in crate::push) struct Parking(u32);

impl Parking {
    /// The stream is parked: see [`super`].
    pub(in crate::push) const PARKED: u32 = 1 << 31;
    /// The app has written to the client. A client that is never written to, and has no channels, needs no outlet.
    pub(in crate::push) const WRITTEN: u32 = 1 << 30;
    /// The log knows the outlet, too.
    pub(in crate::push) const KNOWN: u32 = 1 << 29;
    /// The bits of the outlet, which counts from 1 here; 0 is none.
    const NUMBER: u32 = Parking::KNOWN - 1;

    pub(in crate::push) fn is(&self, what: u32) -> bool {
        self.0 & what != 0
    }

    pub(in crate::push) fn set(&mut self, what: u32, on: bool) {
        self.0 = if on { self.0 | what } else { self.0 & !what };
    }

    pub(in crate::push) fn outlet(&self) -> Option<Outlet> {
        (self.0 & Parking::NUMBER).checked_sub(1).map(Outlet::of)
    }

    /// More streams than there are numbers would need more descriptors than a process can have.
    pub(in crate::push) fn set_outlet(&mut self, outlet: Outlet) {
        self.0 |= (outlet.number() + 1) & Parking::NUMBER;
    }
}
