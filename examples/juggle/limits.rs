//! Descriptors: a thousand connections have two thousand ends, which is more than many shells allow.

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sees to it that so many descriptors may be open.
pub fn allow_descriptors(needed: usize) -> Result<()> {
    let needed = needed as u64;
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    if limit.current.is_none_or(|soft| soft >= needed) {
        return Ok(());
    }
    ensure!(
        limit.maximum.is_none_or(|hard| hard >= needed),
        "{needed} descriptors are needed and the hard limit is {}: raise it (ulimit -Hn, LimitNOFILE=) or ask for fewer \
         --connections",
        limit.maximum.unwrap_or_default()
    );
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .with_context(|| format!("{needed} descriptors are needed and RLIMIT_NOFILE cannot be raised"))
}
