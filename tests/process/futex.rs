//! Words of memory that threads and another process change.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringtoss::futex::{self, Word};
use ringtoss::process::Command;

use crate::{poll_once, run};

/// Whether the kernel can wait; if not, whether it is said why.
async fn is_there() -> bool {
    match futex::wait(&Word::from(Arc::new(AtomicU32::new(1))), 0).await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("6.7"));
            false
        }
    }
}

async fn waited(word: &Word, expected: u32) {
    while word.load(Ordering::SeqCst) == expected {
        futex::wait(word, expected).await.unwrap();
    }
}

static STATIC: AtomicU32 = AtomicU32::new(0);

#[test]
fn threads_and_tasks_meet_at_a_word() {
    run(async {
        if !is_there().await {
            return;
        }
        for word in [Word::from(&STATIC), Word::from(Arc::new(AtomicU32::new(0))).private()] {
            for round in 0..200 {
                let other = word.clone();
                let thread = std::thread::spawn(move || {
                    other.store(round + 1, Ordering::SeqCst);
                    futex::wake_now(&other, u32::MAX).unwrap()
                });
                waited(&word, round).await;
                thread.join().unwrap();
                word.store(round + 1, Ordering::SeqCst);
            }
        }
    });
}

#[test]
fn as_many_are_woken_as_were_asked_for() {
    run(async {
        let word = Word::from(Arc::new(AtomicU32::new(0)));
        assert_eq!(futex::wake(&word, 1).await.unwrap(), 0);
        if !is_there().await {
            return;
        }
        let mut waits: Vec<_> = (0..5).map(|_| futex::wait(&word, 0)).collect();
        for wait in &mut waits {
            assert!(poll_once(wait).await.is_pending());
        }
        ringtoss::op::nop().await.unwrap();
        assert_eq!(futex::wake(&word, 2).await.unwrap(), 2);
        let mut ready = 0;
        while ready < 2 {
            ringtoss::op::nop().await.unwrap();
            for index in (0..waits.len()).rev() {
                if poll_once(&mut waits[index]).await.is_ready() {
                    drop(waits.swap_remove(index));
                    ready += 1;
                }
            }
        }
        assert_eq!(waits.len(), 3);
        assert_eq!(futex::wake(&word, u32::MAX).await.unwrap(), 3);
        for wait in waits {
            wait.await.unwrap();
        }
        // The private and the shared do not meet.
        let mut wait = futex::wait(&word, 0);
        assert!(poll_once(&mut wait).await.is_pending());
        ringtoss::op::nop().await.unwrap();
        assert_eq!(futex::wake(&word.clone().private(), 1).await.unwrap(), 0);
        assert_eq!(wait.cancel().await.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
    });
}

#[test]
fn one_of_many_is_told() {
    run(async {
        if !is_there().await {
            return;
        }
        let words: Vec<Word> = (0..128).map(|_| Word::from(Arc::new(AtomicU32::new(7)))).collect();
        let all = || words.iter().map(|word| (word.clone(), 7));
        let mut any = futex::wait_any(all());
        assert!(poll_once(&mut any).await.is_pending());
        ringtoss::op::nop().await.unwrap();
        assert_eq!(futex::wake(&words[77], 1).await.unwrap(), 1);
        assert_eq!(any.await.unwrap(), 77);
        words[5].store(8, Ordering::SeqCst);
        assert_eq!(futex::wait_any(all()).await.unwrap(), 5);
        let too_many = all().chain(all().take(1));
        for error in [futex::wait_any(too_many).await, futex::wait_any([]).await] {
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    });
}

#[test]
fn a_dropped_wait_hands_its_wake_on() {
    run(async {
        if !is_there().await {
            return;
        }
        for any in [false, true] {
            let word = Word::from(Arc::new(AtomicU32::new(0)));
            let mut first = futex::wait(&word, 0);
            let mut first_any = futex::wait_any([(word.clone(), 0)]);
            let pending = if any {
                poll_once(&mut first_any).await.is_pending()
            } else {
                poll_once(&mut first).await.is_pending()
            };
            assert!(pending);
            ringtoss::op::nop().await.unwrap();
            let mut second = futex::wait(&word, 0);
            assert!(poll_once(&mut second).await.is_pending());
            ringtoss::op::nop().await.unwrap();
            // The kernel wakes the one that came first, and it is gone before it hears of that.
            assert_eq!(futex::wake_now(&word, 1).unwrap(), 1);
            drop((first, first_any));
            second.await.unwrap();
        }
    });
}

#[test]
fn the_memory_stays_until_the_kernel_has_let_go() {
    struct Watched {
        word: AtomicU32,
        gone: Arc<AtomicU32>,
    }
    impl Drop for Watched {
        fn drop(&mut self) {
            self.gone.store(1, Ordering::SeqCst);
        }
    }
    run(async {
        if !is_there().await {
            return;
        }
        let gone = Arc::new(AtomicU32::new(0));
        let owner = Arc::new(Watched { word: AtomicU32::new(0), gone: gone.clone() });
        let word = Word::part_of(owner, |watched| &watched.word);
        let mut wait = futex::wait(&word, 0);
        assert!(poll_once(&mut wait).await.is_pending());
        drop(word);
        ringtoss::op::nop().await.unwrap();
        assert_eq!(gone.load(Ordering::SeqCst), 0);
        drop(wait);
        assert_eq!(gone.load(Ordering::SeqCst), 0, "the kernel has it until it is cancelled");
        while gone.load(Ordering::SeqCst) == 0 {
            ringtoss::op::nop().await.unwrap();
        }
        // Before it was submitted, nobody has it.
        let gone = Arc::new(AtomicU32::new(0));
        let owner = Arc::new(Watched { word: AtomicU32::new(0), gone: gone.clone() });
        let mut wait = futex::wait(&Word::part_of(owner, |watched| &watched.word), 0);
        assert!(poll_once(&mut wait).await.is_pending());
        drop(wait);
        assert_eq!(gone.load(Ordering::SeqCst), 1);
    });
}

/// Two words in a file that two processes have mapped.
struct Mapping(*const [AtomicU32; 2]);

#[allow(unsafe_code, reason = "memory that is shared with another process")]
mod mapping {
    use super::*;

    // SAFETY: it gives out shared references to atomics.
    unsafe impl Send for Mapping {}
    // SAFETY: as above.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        pub fn of(file: &File) -> Mapping {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a new mapping of a page, at an address of the kernel's choice.
            let address =
                unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
            assert_ne!(address, libc::MAP_FAILED);
            Mapping(address.cast())
        }

        pub fn words(&self) -> &[AtomicU32; 2] {
            // SAFETY: the page is mapped until the drop, and any bits are a number.
            unsafe { &*self.0 }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: the mapping is ours, and nobody has a reference to it any more.
            unsafe { libc::munmap(self.0.cast_mut().cast(), 4096) };
        }
    }
}

const FILE: &str = "RINGTOSS_TEST_FUTEX_FILE";
const ROUNDS: u32 = 200;

/// What the other process does: answers each change of the first word by one of the second.
#[test]
fn the_other_process() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mapping = Arc::new(Mapping::of(&file));
    let ask = Word::part_of(mapping.clone(), |mapping| &mapping.words()[0]);
    let answer = Word::part_of(mapping, |mapping| &mapping.words()[1]);
    run(async {
        for round in 0..ROUNDS {
            waited(&ask, round).await;
            answer.store(round + 1, Ordering::SeqCst);
            futex::wake(&answer, 1).await.unwrap();
        }
    });
}

#[test]
fn two_processes_meet_at_a_word() {
    run(async {
        if !is_there().await {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(4096).unwrap();
        let mapping = Arc::new(Mapping::of(file.as_file()));
        let ask = Word::part_of(mapping.clone(), |mapping| &mapping.words()[0]);
        let answer = Word::part_of(mapping, |mapping| &mapping.words()[1]);
        let mut other = Command::new(std::env::current_exe().unwrap())
            .args(["futex::the_other_process", "--exact"])
            .env(FILE, file.path())
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        for round in 0..ROUNDS {
            ask.store(round + 1, Ordering::SeqCst);
            futex::wake(&ask, 1).await.unwrap();
            waited(&answer, round).await;
            assert_eq!(answer.load(Ordering::SeqCst), round + 1);
        }
        assert!(other.wait().await.unwrap().success());
    });
}

#[test]
fn a_wait_is_cut_short_and_may_go_to_another_thread() {
    run(async {
        if !is_there().await {
            return;
        }
        let word = Word::from(Arc::new(AtomicU32::new(0)));
        let limited = futex::wait(&word, 0).timeout(std::time::Duration::from_millis(1)).await;
        assert_eq!(limited.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let mut wait = futex::wait(&word, 0);
        assert!(poll_once(&mut wait).await.is_pending());
        ringtoss::op::nop().await.unwrap();
        let thread = std::thread::spawn(move || run(wait));
        while futex::wake_now(&word, 1).unwrap() == 0 {
            ringtoss::op::nop().await.unwrap();
        }
        let done = async {
            while !thread.is_finished() {
                ringtoss::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        done.await;
        thread.join().unwrap().unwrap();
        let mut wait = futex::wait(&word, 1);
        // Another value: ready with the next completions.
        while poll_once(&mut wait).await.is_pending() {
            ringtoss::op::nop().await.unwrap();
        }
    });
}
