//! Unix sockets, on the real kernel and real sockets.

mod any;
mod datagrams;
mod descriptors;
mod listeners;
mod peers;
mod select;
mod seqpacket;
mod sockets;
mod streams;
#[path = "../tcp/util.rs"]
#[allow(dead_code, reason = "shared with the tests of TCP")]
mod util;
