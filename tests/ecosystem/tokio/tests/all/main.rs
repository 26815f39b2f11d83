//! Software that insists on tokio's runtime: with a loop as its guest, and as a loop's.

mod guest;
mod host;
mod port;
mod portable;
mod util;
