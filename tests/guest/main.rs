//! A loop inside the loop of somebody else, on the same thread.

mod drops;
mod host;
#[cfg(feature = "tokio-guest")]
mod in_tokio;
#[path = "../patience/mod.rs"]
mod patience;
mod racing;
#[cfg(feature = "tokio-guest")]
mod tokio_context;
#[cfg(feature = "tokio-guest")]
mod tokio_drops;
mod util;
