//! Chains of operations: what each link gives when it succeeds, when one before it fails, and when all of them are dropped
//! at whatever moment.

mod dropped;
mod failing;
mod requests;
mod succeeding;
mod util;
