//! TCP, on the real kernel and real sockets.

mod select;
mod util;
