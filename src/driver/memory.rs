//! The table of registered buffers: which of its places are free.

use std::io;

use super::Driver;
use crate::ring::explain_memory;

/// Places. A pool takes one for each of its regions, so this is for hundreds of pools.
const PLACES: u16 = 4096;

/// Made with the first registration.
#[derive(Default)]
pub(super) struct Table {
    made: bool,
    /// Places that were never used begin here.
    fresh: u16,
    free: Vec<u16>,
}

impl Driver {
    /// Has the kernel pin memory and know it by an index.
    ///
    /// # Errors
    /// `OutOfMemory` that names the limit; `QuotaExceeded` if the table is full; and what else the kernel says.
    pub(crate) fn register_memory(&mut self, address: u64, bytes: usize) -> io::Result<u16> {
        if !self.memory.made {
            self.ring.make_memory_table(PLACES).map_err(explain_memory)?;
            self.memory.made = true;
        }
        let index = match self.memory.free.pop() {
            Some(index) => index,
            None if self.memory.fresh < PLACES => {
                self.memory.fresh += 1;
                self.memory.fresh - 1
            }
            None => {
                return Err(io::Error::new(
                    io::ErrorKind::QuotaExceeded,
                    "this loop knows 4096 pieces of registered memory, the most that there can be",
                ));
            }
        };
        self.ring.set_memory(index, address, bytes).map_err(|error| {
            self.memory.free.push(index);
            explain_memory(error)
        })?;
        Ok(index)
    }

    /// Has the kernel forget it. Operations that still use it keep the pages.
    pub(crate) fn unregister_memory(&mut self, index: u16) {
        // What fails keeps its place, so that no other memory gets its index.
        if self.ring.set_memory(index, 0, 0).is_ok() {
            self.memory.free.push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::tests::driver;

    #[test]
    fn places_are_used_again_and_are_so_many() {
        let (mut driver, _wakeup) = driver();
        let page = vec![0u8; 8192];
        let address = page.as_ptr().addr().next_multiple_of(4096) as u64;
        let register = |driver: &mut Driver| driver.register_memory(address, 4096);
        assert_eq!([(); 3].map(|()| register(&mut driver).unwrap()), [0, 1, 2]);
        driver.unregister_memory(1);
        // What is refused has no place.
        driver.register_memory(0, 4096).unwrap_err();
        assert_eq!([(); 2].map(|()| register(&mut driver).unwrap()), [1, 3]);
        driver.memory.fresh = PLACES - 1;
        assert_eq!(register(&mut driver).unwrap(), PLACES - 1);
        let error = register(&mut driver).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
        driver.unregister_memory(3);
        assert_eq!(register(&mut driver).unwrap(), 3);
    }
}
