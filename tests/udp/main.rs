//! UDP, on the real kernel and real sockets.

mod basics;
mod drops;
mod messages;
mod options;
mod select;
mod system;
#[path = "../tcp/util.rs"]
#[allow(dead_code, reason = "shared with the tests of TCP")]
mod util;
mod zero_copy;
