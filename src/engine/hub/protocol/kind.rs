//! The kinds of frames, as they are in the bytes.

pub(super) const HELLO: u8 = 1;
pub(super) const RULES: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const ASK_POSITION: u8 = 4;
pub(super) const REPORT: u8 = 5;
pub(super) const WELCOME: u8 = 16;
pub(super) const ASK_REPORT: u8 = 17;
pub(super) const CONTINUE: u8 = 18;
pub(super) const MESSAGE: u8 = 19;
pub(super) const OWN: u8 = 20;
pub(super) const NUMBERED: u8 = 21;
pub(super) const STABLE: u8 = 22;
pub(super) const CREDIT: u8 = 23;
pub(super) const POSITION: u8 = 24;
pub(super) const REFUSED: u8 = 25;
pub(super) const RESET: u8 = 32;
pub(super) const FLOORS: u8 = 33;
pub(super) const FORGOTTEN: u8 = 34;
pub(super) const KEPT: u8 = 35;
pub(super) const AUTHORS: u8 = 36;
pub(super) const END: u8 = 37;
pub(super) const MEMBERS: u8 = 64;
pub(super) const COMMAND: u8 = 65;
pub(super) const RELAY: u8 = 72;
pub(super) const UNREACHABLE: u8 = 73;
pub(super) const PARTED: u8 = 74;
