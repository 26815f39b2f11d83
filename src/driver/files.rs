//! The table of registered files: what its places hold.
//!
//! A file gets a place by an entry that is staged like any other, and is named by it once the kernel has confirmed that;
//! until then its number does as well. It leaves by an entry, too, behind everything that names the place.

use super::Driver;
use crate::ring::{Cqe, SKIP_SUCCESS, Sqe, lets_go_of_files};
use crate::slot::Addressee;
use crate::sys;

/// As many places as a table has at most. The kernel allows no more than there may be open files. An empty one costs eight
/// bytes.
const PLACES_AT_MOST: u32 = 65_536;

/// How a file's place stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Free,
    /// A chain has it, which opens a file there and closes it.
    Lent,
    /// The kernel has been asked to fill it.
    Asked,
    Filled,
    /// It could not be filled, or its file has left before it was.
    Failed,
    Left,
}

/// Made when the first file is to have a place.
#[derive(Default)]
pub(crate) struct Files {
    /// Whether files are registered by themselves when they are used often.
    pub wanted: bool,
    /// How many there are; `None` if the table was not made yet, 0 if it cannot be.
    size: Option<u32>,
    places: Vec<Place>,
    free: Vec<u32>,
}

impl Files {
    /// The kernel's answer.
    #[cold]
    pub(super) fn filled(&mut self, place: u32, cqe: Cqe) {
        match &mut self.places[place as usize] {
            Place::Left => self.free(place),
            asked => *asked = if cqe.result == 1 { Place::Filled } else { Place::Failed },
        }
    }

    pub(crate) fn place(&self, place: u32) -> Place {
        self.places[place as usize]
    }

    pub(super) fn free(&mut self, place: u32) {
        self.places[place as usize] = Place::Free;
        self.free.push(place);
    }

    /// How many places are not free.
    pub(crate) fn taken(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

/// Why a file gets no place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// Others have them all, for now.
    Full,
    Never,
}

impl Driver {
    /// Has the kernel put a file into the table; [`Files::place`] tells when it is there.
    pub(crate) fn ask_for_place(&mut self, number: i32) -> Result<u32, NoPlace> {
        if self.ring.is_full() {
            self.flush();
        }
        if self.ring.is_full() || self.ending {
            return Err(NoPlace::Full);
        }
        let place = self.take_place(Place::Asked)?;
        // There is room in the queue, so that the number stays where it is until this entry is taken.
        let numbers = self.arena.store(number);
        let fill = Sqe::new(io_uring::opcode::FilesUpdate::CODE).addr(numbers).len(1).offset(place.into());
        self.push_internal(fill, Addressee::Filled(place));
        Ok(place)
    }

    /// A place for a chain, to open a file into. It is the chain's until its last completion is here.
    pub(super) fn lend_place(&mut self) -> Option<u32> {
        self.take_place(Place::Lent).ok()
    }

    /// The chain that had this place is over. If it has left a file there, that is closed.
    pub(super) fn take_place_back(&mut self, place: u32, is_filled: bool) {
        debug_assert_eq!(self.files.place(place), Place::Lent);
        if is_filled && !self.ending {
            self.push_internal(emptying(place), Addressee::Nobody);
        }
        self.files.free(place);
    }

    fn take_place(&mut self, as_what: Place) -> Result<u32, NoPlace> {
        let size = match self.files.size {
            Some(size) => size,
            None => self.make_file_table(),
        };
        if size == 0 {
            return Err(NoPlace::Never);
        }
        let files = &mut self.files;
        let place = match files.free.pop() {
            Some(place) => place,
            None if (files.places.len() as u32) < size => {
                files.places.push(Place::Free);
                files.places.len() as u32 - 1
            }
            None => return Err(NoPlace::Full),
        };
        files.places[place as usize] = as_what;
        Ok(place)
    }

    #[cold]
    fn make_file_table(&mut self) -> u32 {
        let (_, open_files) = sys::memlock_and_nofile();
        let size = open_files.min(PLACES_AT_MOST.into()) as u32;
        let made = size > 0 && lets_go_of_files() && self.ring.make_file_table(size).is_ok();
        *self.files.size.insert(if made { size } else { 0 })
    }

    /// The file at this place goes: it leaves behind everything that was submitted here.
    pub(crate) fn leave_place(&mut self, place: u32) {
        if self.ending {
            // The whole table goes with the loop.
            return;
        }
        let close = emptying(place);
        match self.files.place(place) {
            Place::Asked => {
                self.files.places[place as usize] = Place::Left;
                self.push_internal(close, Addressee::Nobody);
            }
            Place::Filled => {
                self.push_internal(close, Addressee::Nobody);
                self.files.free(place);
            }
            Place::Failed => self.files.free(place),
            Place::Free | Place::Lent | Place::Left => unreachable!("a file leaves its place once"),
        }
    }

    /// Has the kernel let go of all files in the table: the loop has ended.
    pub(crate) fn drop_file_table(&mut self) {
        if self.files.size.take().is_some_and(|size| size > 0) {
            self.ring.drop_file_table();
        }
    }
}

/// Has the kernel let go of what is at a place.
fn emptying(place: u32) -> Sqe {
    let mut close = Sqe::new(io_uring::opcode::Close::CODE).flags(SKIP_SUCCESS);
    close.name_own_place(place);
    close
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context;
    use crate::driver::tests::driver;
    use crate::ring::Wait;

    /// An answer that comes late would be taken for that to the place's next file.
    #[test]
    fn a_place_that_was_left_before_it_was_filled_is_free_when_the_answer_has_come() {
        crate::block_on(async {
            let (reader, writer) = std::io::pipe().unwrap();
            let number = std::os::fd::AsRawFd::as_raw_fd(&reader);
            let with = |f: &dyn Fn(&mut Driver)| context::with(|core| f(&mut core.driver.borrow_mut())).unwrap();
            if !lets_go_of_files() {
                return with(&|driver| assert_eq!(driver.ask_for_place(number), Err(NoPlace::Never)));
            }
            with(&|driver| {
                assert_eq!(driver.ask_for_place(number), Ok(0));
                driver.leave_place(0);
                assert_eq!(driver.files.place(0), Place::Left);
                assert_eq!(driver.ask_for_place(number), Ok(1));
                assert_eq!(driver.ask_for_place(i32::MAX), Ok(2), "no file's number");
                assert_eq!(driver.files.taken(), 3);
            });
            crate::op::nop().await.unwrap();
            with(&|driver| {
                let places = [0, 1, 2].map(|place| driver.files.place(place));
                assert_eq!(places, [Place::Free, Place::Filled, Place::Failed]);
                driver.leave_place(2);
                driver.leave_place(1);
                assert_eq!(driver.files.taken(), 0);
            });
            drop(reader);
            crate::op::nop().await.unwrap();
            assert!(sys::is_ready(std::os::fd::AsRawFd::as_raw_fd(&writer), 0), "nothing holds the other end");
        });
    }

    #[test]
    fn a_table_has_so_many_places_and_a_loop_that_ends_gives_none() {
        let (mut driver, _wakeup) = driver();
        let (reader, _writer) = std::io::pipe().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&reader);
        if driver.ask_for_place(number) == Err(NoPlace::Never) {
            return;
        }
        driver.files.size = Some(3);
        assert_eq!([(); 3].map(|()| driver.ask_for_place(number)), [Ok(1), Ok(2), Err(NoPlace::Full)]);
        assert_eq!(driver.files.taken(), 3);
        driver.submit_all();
        while driver.files.place(2) == Place::Asked {
            driver.enter(Wait::Completion);
            driver.reap();
        }
        driver.leave_place(1);
        assert_eq!((driver.ring.staged(), driver.files.taken()), (1, 2));
        let lent = driver.lend_place().expect("one is free");
        assert_eq!((lent, driver.files.place(lent)), (1, Place::Lent));
        driver.take_place_back(lent, false);
        assert_eq!((driver.ring.staged(), driver.files.taken()), (1, 2), "there is nothing in it");
        let lent = driver.lend_place().expect("the same");
        driver.take_place_back(lent, true);
        assert_eq!((driver.ring.staged(), driver.files.taken()), (2, 2));

        driver.begin_ending();
        assert_eq!(driver.ask_for_place(number), Err(NoPlace::Full));
        let lent = driver.lend_place().expect("the same");
        driver.take_place_back(lent, true);
        driver.leave_place(2);
        assert_eq!(driver.ring.staged(), 0, "the table goes as a whole");
        driver.drop_file_table();
        assert_eq!(driver.files.size, None);
    }
}
