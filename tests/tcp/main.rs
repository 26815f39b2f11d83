//! TCP, on the real kernel and real sockets.

mod accept;
mod bulk;
mod closing;
mod connect;
mod convert;
mod dropped_reads;
mod dropped_writes;
mod errors;
mod eyeballs;
mod halves;
mod lent;
mod listener;
mod names;
mod options;
mod peers;
mod select;
mod send;
mod stream;
mod system;
mod threads;
mod try_now;
mod util;
mod zero_copy;
