//! Where the work on files is done: big files on a disk, small ones in memory, so that it is not the disk that is measured.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::buffers::{Block, PAGE_BYTES};
use crate::ending::Folder;
use crate::work::Random;

/// The size of the files that are read, written and copied.
pub const FILE_BYTES: u64 = 64 << 20;

/// Two folders, one on a disk and one in memory, removed when the run is over.
pub struct Places {
    disk: Folder,
    /// If there is a tmpfs.
    memory: Option<Folder>,
    /// The big file.
    pub file: PathBuf,
}

impl Places {
    /// Below this folder, and in a tmpfs, if there is one. Without the big file if nobody wants it.
    pub fn make(base: &Path, with_file: bool) -> io::Result<Places> {
        let disk = Folder::make(base)?;
        let in_memory = [Some("/dev/shm".into()), std::env::var_os("XDG_RUNTIME_DIR")].into_iter().flatten();
        let mut in_memory = in_memory.map(PathBuf::from).filter(|folder| file_system(folder) == "tmpfs");
        let memory = in_memory.find_map(|folder| Folder::make(&folder).ok());
        // Children are told the file only.
        symlink(memory.as_deref().unwrap_or(&disk), disk.join("memory"))?;
        let file = disk.join("file");
        if with_file {
            make_file(&file)?;
        }
        Ok(Places { disk, memory, file })
    }

    /// For the report.
    pub fn describe(&self) -> Vec<String> {
        let place = |what: &str, folder: &Path| {
            format!("{what}: {} at {}", file_system(folder), folder.parent().unwrap_or(folder).display())
        };
        let memory = self.memory.as_ref().unwrap_or(&self.disk);
        vec![place("big files", &self.disk), place("small files and copies", memory)]
    }
}

/// The folder for small files that belongs to the big one.
pub fn memory_beside(file: &Path) -> PathBuf {
    let disk = file.parent().expect("a file in a folder");
    fs::canonicalize(disk.join("memory")).unwrap_or_else(|_| disk.to_owned())
}

/// The file that is written to. It is as long as it will ever be, and all of its blocks have their place on the disk.
pub fn written_beside(file: &Path) -> io::Result<PathBuf> {
    let path = file.with_file_name("written");
    if !path.exists() {
        fs::copy(file, &path)?;
        File::open(&path)?.sync_all()?;
    }
    Ok(path)
}

/// Every page of the file begins with the place that it is at; the rest looks random, a MiB of it again and again.
fn make_file(path: &Path) -> io::Result<()> {
    const PART: usize = 1 << 20;
    let (mut random, mut part, mut file) = (Random::new(0), vec![0; PART], File::create(path)?);
    part.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.below(u64::MAX).to_ne_bytes()));
    for start in (0..FILE_BYTES).step_by(PART) {
        for (number, page) in part.chunks_mut(PAGE_BYTES).enumerate() {
            page[..8].copy_from_slice(&(start + (number * PAGE_BYTES) as u64).to_ne_bytes());
        }
        file.write_all(&part)?;
    }
    // What is dirty cannot be read past the page cache, and would be written while something is measured.
    file.sync_all()
}

/// Why files here cannot be read and written past the page cache, if so.
pub fn direct_obstacle(file: &Path) -> Option<String> {
    let kind = file_system(file);
    if matches!(kind.as_str(), "tmpfs" | "ramfs") {
        return Some(format!(
            "{} is a {kind}, which has no disk behind it: give another folder by --dir",
            file.display()
        ));
    }
    let opened = File::options().read(true).custom_flags(libc::O_DIRECT).open(file);
    let read = opened.and_then(|file| file.read_exact_at(Block::new(PAGE_BYTES).whole(), 0));
    read.err().map(|error| format!("the {kind} at {} does no O_DIRECT: {error}", file.display()))
}

/// The kind of file system, as the table of mounts has it.
fn file_system(path: &Path) -> String {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    kind_of(&mounts, &path).unwrap_or_else(|| "unknown".into())
}

fn kind_of(mounts: &str, path: &Path) -> Option<String> {
    let under = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (_, folder, kind) = (words.next()?, words.next()?, words.next()?);
        // Spaces and the like are octal there.
        let folder = folder.replace("\\040", " ");
        path.starts_with(&folder).then(|| (folder.len(), kind.to_owned()))
    });
    // Of those that are mounted on the same folder the last is what one sees.
    under.max_by_key(|(len, _)| *len).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_is_the_file_system() {
        let mounts =
            "dev / ext4 rw 0 0\nold /a\\040b xfs rw 0 0\nnew /a\\040b tmpfs rw 0 0\nx /a\\040b/c btrfs rw 0 0\n";
        assert_eq!(kind_of(mounts, Path::new("/a b/d")).unwrap(), "tmpfs");
        assert_eq!(kind_of(mounts, Path::new("/a b/c/e")).unwrap(), "btrfs");
        assert_eq!(kind_of(mounts, Path::new("/ab")).unwrap(), "ext4");
        assert_eq!(kind_of("", Path::new("/")), None);
    }

    #[test]
    fn places_hold_what_the_work_expects_and_leave_nothing() {
        let places = Places::make(&std::env::temp_dir(), true).unwrap();
        let (file, memory) = (places.file.clone(), memory_beside(&places.file));
        assert_eq!(memory, fs::canonicalize(places.memory.as_deref().unwrap_or(&places.disk)).unwrap());
        let mut page = [0; 8];
        File::open(&file).unwrap().read_exact_at(&mut page, 3 * PAGE_BYTES as u64).unwrap();
        assert_eq!(u64::from_ne_bytes(page), 3 * PAGE_BYTES as u64);
        assert_eq!(fs::metadata(written_beside(&file).unwrap()).unwrap().len(), FILE_BYTES);
        drop(places);
        assert!(!file.exists() && !memory.exists());
    }
}
