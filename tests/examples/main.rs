//! The examples, run for real.

mod cp;
mod echo;
mod get;
mod juggle;
mod util;
