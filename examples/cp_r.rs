//! Copies a tree: `cp_r SOURCE DESTINATION`. Files that share content where the file system can, holes, extended attributes,
//! permissions, times, symbolic links and hard links arrive as they are; owners do not.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use ringtoss::fs::{self, FileTimes, Metadata, XattrMode};
use ringtoss::task::JoinSet;

const COPIES_IN_FLIGHT: usize = 16;

fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [source, destination] = arguments.as_slice() else {
        eprintln!("usage: cp_r SOURCE DESTINATION");
        return ExitCode::from(2);
    };
    match ringtoss::block_on(copy(source.clone(), destination.clone())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cp_r: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says where something went wrong.
trait At<T> {
    fn at(self, path: &Path) -> io::Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> io::Result<T> {
        self.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    }
}

/// Files with several names, by device and inode: where the first of them has arrived.
type Links = Rc<RefCell<HashMap<(u64, u64), PathBuf>>>;

async fn copy(source: PathBuf, destination: PathBuf) -> io::Result<()> {
    let metadata = fs::symlink_metadata(&source).await.at(&source)?;
    if fs::symlink_metadata(&destination).await.is_ok() {
        return Err(ErrorKind::AlreadyExists.into()).at(&destination);
    }
    if metadata.is_dir() {
        let parent = destination.parent().filter(|parent| *parent != "").unwrap_or(Path::new("."));
        let (inside, tree) = (fs::canonicalize(parent).await.at(parent)?, fs::canonicalize(&source).await.at(&source)?);
        if inside.starts_with(tree) {
            return Err(io::Error::other("it lies in what is to be copied")).at(&destination);
        }
    }
    copy_any(source, destination, metadata, Links::default()).await
}

async fn copy_any(source: PathBuf, destination: PathBuf, metadata: Metadata, links: Links) -> io::Result<()> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        // A future that has itself inside needs a box around it.
        Box::pin(copy_dir(source, destination, metadata, links)).await
    } else if kind.is_symlink() {
        fs::symlink(fs::read_link(&source).await.at(&source)?, &destination).await.at(&destination)?;
        keep_attributes(&source, &destination, &metadata).await
    } else if kind.is_file() {
        fs::copy(&source, &destination).await.at(&source)?;
        keep_attributes(&source, &destination, &metadata).await
    } else {
        Err(io::Error::new(ErrorKind::Unsupported, "neither a file nor a directory nor a symbolic link")).at(&source)
    }
}

async fn copy_dir(source: PathBuf, destination: PathBuf, metadata: Metadata, links: Links) -> io::Result<()> {
    // Open to nobody else, and writable, until all is there.
    fs::DirBuilder::new().mode(0o700).create(&destination).await.at(&destination)?;
    let (mut copies, mut dirs) = (JoinSet::new(), Vec::new());
    let mut entries = fs::read_dir(&source).await.at(&source)?;
    while let Some(entry) = entries.next_entry().await.at(&source)? {
        let (from, to) = (entry.path(), destination.join(entry.file_name()));
        let metadata = entry.metadata().await.at(&from)?;
        if metadata.is_dir() {
            dirs.push((from, to, metadata));
            continue;
        }
        if metadata.nlink() > 1 {
            let file = (metadata.dev(), metadata.ino());
            let first = links.borrow().get(&file).cloned();
            match first {
                Some(first) => fs::hard_link(&first, &to).await.at(&to)?,
                None => {
                    copy_any(from, to.clone(), metadata, links.clone()).await?;
                    links.borrow_mut().insert(file, to);
                }
            }
            continue;
        }
        copies.spawn(copy_any(from, to, metadata, links.clone()));
        if copies.len() >= COPIES_IN_FLIGHT {
            copies.join_next().await.expect("there are some")??;
        }
    }
    while let Some(copied) = copies.join_next().await {
        copied??;
    }
    for (from, to, metadata) in dirs {
        copy_any(from, to, metadata, links.clone()).await?;
    }
    // Last: the time has changed with every name, and it may not be writable.
    keep_attributes(&source, &destination, &metadata).await
}

async fn keep_attributes(source: &Path, destination: &Path, metadata: &Metadata) -> io::Result<()> {
    match fs::list_xattrs_nofollow(source).await {
        Ok(names) => {
            for name in names {
                let Some(value) = fs::get_xattr_nofollow(source, &name).await.at(source)? else { continue };
                match fs::set_xattr_nofollow(destination, &name, value, XattrMode::Any).await {
                    // Those of the system are not for everybody to set.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied && !is_users(&name) => {}
                    result => result.at(destination)?,
                }
            }
        }
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        Err(error) => return Err(error).at(source),
    }
    if !metadata.is_symlink() {
        fs::set_permissions(destination, metadata.permissions()).await.at(destination)?;
    }
    let times = FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?);
    fs::set_times_nofollow(destination, times).await.at(destination)
}

fn is_users(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"user.")
}
