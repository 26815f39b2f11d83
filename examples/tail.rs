//! The end of a file, and what is added to it: `tail [-n LINES] FILE`.
//!
//! It goes by the name, as `tail -F` does: a file that is truncated is read from its start, and one that takes the name (log
//! rotation) is read after what was still written to the one before. A file that is not there is waited for. Changes are told
//! by inotify, whose descriptor is awaited with `AsyncFd`, so that rustix can read and take apart what comes; who does
//! that by hand has it shorter, for `File::from(inotify).read(buf)` waits, too.

use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ringtoss::buf::BufResultExt;
use ringtoss::fs::File;
use ringtoss::io::{AsyncFd, Interest, Stdout, stdout};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};

const CHUNK: usize = 64 * 1024;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (lines, path) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [path] => (Ok(10), path),
        ["-n", lines, path] => (lines.parse(), path),
        _ => (Ok(0), ""),
    };
    let (Ok(lines), false) = (lines, path.is_empty()) else {
        eprintln!("usage: tail [-n LINES] FILE");
        return ExitCode::from(2);
    };
    match ringtoss::block_on(tail(Path::new(path), lines)) {
        // Whoever has read it has enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("tail: {path}: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

async fn tail(path: &Path, lines: usize) -> io::Result<()> {
    // Before the first look, so that nothing is missed in between.
    let mut changes = Changes::of(path)?;
    let mut output = stdout();
    let mut followed = Followed::open(path).await?;
    if let Some(file) = &mut followed {
        file.position = file.start_of_last(lines).await?;
        changes.watch(path);
    }
    // The file that had the name before, to which its writers may still write.
    let mut before: Option<Followed> = None;
    loop {
        for file in before.iter_mut().chain(&mut followed) {
            file.pass_on(&mut output).await?;
        }
        let changed = std::mem::take(&mut changes.name_has_changed) || followed.is_none();
        let now = if changed { Followed::open(path).await? } else { None };
        if let Some(new) = now.filter(|new| !new.is_same(followed.as_ref())) {
            changes.watch(path);
            // What was written until the name went.
            if let Some(file) = &mut followed {
                file.pass_on(&mut output).await?;
            }
            before = followed.replace(new);
            continue;
        }
        changes.next().await?;
    }
}

/// A file, and how far it has been passed on.
struct Followed {
    file: File,
    identity: (u64, u64),
    position: u64,
}

impl Followed {
    /// `None` if there is none.
    async fn open(path: &Path) -> io::Result<Option<Followed>> {
        let file = match File::open(path).await {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata().await?;
        if metadata.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        let identity = (metadata.dev(), metadata.ino());
        Ok(Some(Followed { file, identity, position: 0 }))
    }

    fn is_same(&self, other: Option<&Followed>) -> bool {
        other.is_some_and(|other| other.identity == self.identity)
    }

    /// Where the last so many lines begin.
    async fn start_of_last(&self, lines: usize) -> io::Result<u64> {
        let len = self.file.metadata().await?.len();
        let (mut end, mut left) = (len, lines);
        let mut buf = Vec::with_capacity(CHUNK);
        while left > 0 && end > 0 {
            let start = end.saturating_sub(CHUNK as u64);
            buf = self.file.read_exact_at(buf, (end - start) as usize, start).await.into_result()?.1;
            for (index, _) in buf.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
                let after = start + index as u64 + 1;
                // The very last one ends a line and begins none.
                left -= usize::from(after < len);
                if left == 0 {
                    return Ok(after);
                }
            }
            end = start;
        }
        Ok(if lines == 0 { len } else { 0 })
    }

    /// Writes what was added.
    async fn pass_on(&mut self, output: &mut Stdout) -> io::Result<()> {
        if self.file.metadata().await?.len() < self.position {
            eprintln!("tail: the file was truncated");
            self.position = 0;
        }
        let mut buf = Vec::with_capacity(CHUNK);
        loop {
            let (count, bytes) = self.file.read_at(buf, self.position).await.into_result()?;
            if count == 0 {
                return Ok(());
            }
            buf = output.write_all(bytes).await.into_result()?.1;
            self.position += count as u64;
        }
    }
}

/// What inotify tells of a name and of the files that have had it.
struct Changes {
    inotify: AsyncFd<OwnedFd>,
    folder: i32,
    name: Vec<u8>,
    name_has_changed: bool,
}

impl Changes {
    fn of(path: &Path) -> io::Result<Changes> {
        let name = path.file_name().ok_or(ErrorKind::IsADirectory)?.as_bytes().to_vec();
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let names = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        let folder = inotify::add_watch(&inotify, &folder, names)?;
        Ok(Changes {
            inotify: AsyncFd::with_interest(inotify, Interest::READABLE)?,
            folder,
            name,
            name_has_changed: false,
        })
    }

    /// From here on changes of the file that has the name now are told, too, whatever it is called later.
    fn watch(&self, path: &Path) {
        // Gone already, it is followed as long as it is open.
        let _ = inotify::add_watch(self.inotify.get_ref(), path, WatchFlags::MODIFY | WatchFlags::ATTRIB);
    }

    /// Waits for a change that may matter. Which it was does not: one looks at the files.
    async fn next(&mut self) -> io::Result<()> {
        let mut buf = [MaybeUninit::uninit(); 4096];
        loop {
            let (folder, name) = (self.folder, self.name.as_slice());
            let (matters, names) = self
                .inotify
                .async_io(Interest::READABLE, |inotify| {
                    let mut reader = Reader::new(inotify, &mut buf);
                    let (mut matters, mut names) = (false, false);
                    loop {
                        let event = reader.next()?;
                        let ours = event.file_name().is_some_and(|other| other.to_bytes() == name);
                        names |= event.wd() == folder && ours || event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                        matters |= event.wd() != folder || names;
                        if reader.is_buffer_empty() {
                            return Ok((matters, names));
                        }
                    }
                })
                .await?;
            self.name_has_changed |= names;
            if matters {
                return Ok(());
            }
        }
    }
}
