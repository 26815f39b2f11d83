//! The end that somebody asks for: by Ctrl-C, by `SIGTERM`, or by closing the terminal (`SIGHUP`).
//!
//! Asked once, the suite ends the window that it is in, keeps what it has measured and clears up. Asked again, it ends at once;
//! what it has made is removed all the same. What is left of a run that was killed is removed by the next one.

use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::Deref;
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::sys;

static ASKED: AtomicBool = AtomicBool::new(false);
/// Where the handler writes which signal it was.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// What has to be removed, and who has to be killed before, as they write there.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// What comes sooner is the same wish: `timeout`, for one, tells the process, and then all of its group.
const AGAIN_FROM: Duration = Duration::from_millis(500);

/// From now on somebody may ask.
pub fn catch() -> io::Result<()> {
    extern "C" fn asked(signal: libc::c_int) {
        ASKED.store(true, Ordering::Relaxed);
        sys::write_byte(BELL.load(Ordering::Relaxed), signal as u8);
    }
    let (mut bell, rope) = io::pipe()?;
    BELL.store(rope.into_raw_fd(), Ordering::Relaxed);
    std::thread::spawn(move || {
        let (mut first, mut signal) = (None, [0]);
        while bell.read_exact(&mut signal).is_ok() {
            if first.get_or_insert_with(Instant::now).elapsed() >= AGAIN_FROM {
                at_once(signal[0].into());
            }
        }
    });
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // Who is started by nohup shall not hear of it.
        if signal != libc::SIGHUP || !sys::is_ignored(signal) {
            sys::on_signal(signal, asked);
        }
    }
    Ok(())
}

/// Whether somebody has.
pub fn is_asked_for() -> bool {
    ASKED.load(Ordering::Relaxed)
}

fn at_once(signal: i32) -> ! {
    // Nobody who is started now gets so far as to write anything: this is held to the end.
    let children = lock(&CHILDREN);
    children.iter().for_each(|&child| sys::kill_group(child));
    let folders = lock(&FOLDERS);
    let until = Instant::now() + Duration::from_secs(2);
    while folders.iter().any(|folder| fs::remove_dir_all(folder).is_err() && folder.exists()) && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::process::exit(128 + signal);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A process, leader of a group, that does not outlive this one.
pub fn watch(child: u32) {
    lock(&CHILDREN).push(child);
}

/// Before it is waited for: the number may be somebody else's then.
pub fn unwatch(child: u32) {
    lock(&CHILDREN).retain(|&other| other != child);
}

/// A folder for this run only, removed with all that is in it.
pub struct Folder {
    path: PathBuf,
    /// Held as long as it is used.
    _lock: File,
}

const PREFIX: &str = "ringtoss-bench-";
const LOCK: &str = "in-use";

impl Folder {
    /// Below this one, where there is none yet; removes what killed runs have left there.
    pub fn make(base: &Path) -> io::Result<Folder> {
        sweep(base);
        let path = base.join(format!("{PREFIX}{}", std::process::id()));
        lock(&FOLDERS).push(path.clone());
        let made = fs::create_dir(&path).and_then(|()| {
            let file = File::create(path.join(LOCK))?;
            if sys::try_lock(&file)? { Ok(file) } else { Err(io::ErrorKind::ResourceBusy.into()) }
        });
        match made {
            Ok(file) => Ok(Folder { path, _lock: file }),
            Err(error) => {
                forget(&path);
                Err(error)
            }
        }
    }
}

/// Once: somebody else may have named it, too.
fn forget(path: &Path) {
    let mut folders = lock(&FOLDERS);
    if let Some(place) = folders.iter().rposition(|other| other == path) {
        folders.remove(place);
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
        forget(&self.path);
    }
}

/// Removes folders whose owner is no more.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if number.is_none_or(|number| number.parse::<u32>().is_err()) {
            continue;
        }
        if let Ok(file) = File::open(entry.path().join(LOCK))
            && sys::try_lock(&file).is_ok_and(|locked| locked)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_is_in_use_is_not() {
        let base = std::env::temp_dir().join(format!("ringtoss-bench-ending-{}", std::process::id()));
        let left = base.join("ringtoss-bench-1");
        fs::create_dir_all(left.join("more")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        let others = ["ringtoss-bench-2", "ringtoss-bench-x", "mine"].map(|name| base.join(name));
        others.iter().for_each(|other| fs::create_dir(other).unwrap());
        let used = File::create(others[0].join(LOCK)).unwrap();
        assert!(sys::try_lock(&used).unwrap());
        let folder = Folder::make(&base).unwrap();
        assert!(!left.exists() && folder.exists());
        assert!(others.iter().all(|other| other.exists()));
        assert!(Folder::make(&base).is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists));
        assert!(folder.exists());
        drop(folder);
        assert_eq!(fs::read_dir(&base).unwrap().count(), others.len());
        fs::remove_dir_all(base).unwrap();
    }
}
