//! What reads bytes that others wrote, and what keeps count of who owns what, driven by arbitrary bytes beside a model.
//! Each target is a function over bytes: `fuzz/` calls them from a fuzzer, which grows a corpus, and the unit tests here
//! replay that on every run. They are part of no build but those two.
#![allow(unsafe_code, missing_docs, missing_debug_implementations, reason = "no part of what users see")]

mod addresses;
mod ancillary;
mod buffers;
mod directory;
mod slots;
mod timers;

pub use addresses::addresses;
pub use ancillary::ancillary;
pub use buffers::buffers;
pub use directory::directory;
pub use slots::slots;
pub use timers::timers;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

/// Bytes as decisions. When there are no more, everything is 0.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        bytes
    }

    fn number<const N: usize>(&mut self) -> [u8; N] {
        let mut number = [0; N];
        let bytes = self.bytes(N);
        number[..bytes.len()].copy_from_slice(bytes);
        number
    }

    fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.number())
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.number())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.number())
    }

    /// One of so many.
    fn pick(&mut self, count: usize) -> Option<usize> {
        let byte = usize::from(self.u8());
        (count > 0).then(|| byte % count)
    }
}

/// Wakers with names, and how many of them are alive.
#[derive(Clone, Default)]
struct Witnesses(Arc<AtomicUsize>);

struct Witness {
    name: usize,
    called: Arc<AtomicUsize>,
}

impl Wake for Witness {
    fn wake(self: Arc<Self>) {
        self.called.store(self.name, Ordering::Relaxed);
    }
}

impl Witnesses {
    fn waker(&self, name: usize) -> Waker {
        Waker::from(Arc::new(Witness { name, called: self.0.clone() }))
    }

    /// Takes a waker's name.
    fn name(&self, waker: Waker) -> usize {
        self.0.store(usize::MAX, Ordering::Relaxed);
        waker.wake();
        self.0.load(Ordering::Relaxed)
    }

    /// Every waker that was made has been dropped.
    fn assert_none_is_alive(&self) {
        assert_eq!(Arc::strong_count(&self.0), 1, "a waker is kept by nobody and was not dropped");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    type Target = (&'static str, fn(&[u8]));
    const TARGETS: [Target; 6] = [
        ("addresses", super::addresses),
        ("ancillary", super::ancillary),
        ("buffers", super::buffers),
        ("directory", super::directory),
        ("slots", super::slots),
        ("timers", super::timers),
    ];

    /// What the fuzzer has found worth keeping.
    #[test]
    #[cfg_attr(miri, ignore = "it reads files")]
    fn the_corpus_is_replayed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if !folder.exists() {
            // The published package has none.
            return;
        }
        for (name, target) in TARGETS {
            let mut count = 0;
            for entry in fs::read_dir(folder.join("corpus").join(name)).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                target(&fs::read(path).unwrap());
                count += 1;
            }
            assert!(count > 10, "{count} inputs in the corpus of {name}");
        }
    }

    /// Not as good as a fuzzer, but everywhere: under Miri too, which sees every access.
    #[test]
    fn random_bytes_find_nothing() {
        let (rounds, longest) = if cfg!(miri) { (20, 100) } else { (500, 600) };
        let mut random = fastrand::Rng::with_seed(7);
        for (_, target) in TARGETS {
            for _ in 0..rounds {
                let mut bytes = vec![0; random.usize(..longest)];
                random.fill(&mut bytes);
                target(&bytes);
            }
        }
    }
}
