//! Tasks and what belongs to them: sets, scopes, names, values of their own.

mod ids;
mod join_set;
mod local;
#[path = "../patience/mod.rs"]
mod patience;
mod scope;
