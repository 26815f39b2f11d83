//! Receiving into the loop's buffers.

mod backpressure;
mod datagrams;
mod drops;
mod incoming;
mod loops;
mod pipes;
mod receive;
#[allow(dead_code, reason = "shared with the tests of TCP")]
#[path = "../tcp/util.rs"]
mod util;
