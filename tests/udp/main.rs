//! UDP, on the real kernel and real sockets.

mod alone;
mod basics;
mod drops;
mod messages;
mod options;
mod select;
mod system;
mod try_now;
#[path = "../tcp/util.rs"]
#[allow(dead_code, reason = "shared with the tests of TCP")]
mod util;
mod vectored;
mod zero_copy;
