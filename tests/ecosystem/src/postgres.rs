//! A real PostgreSQL.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Server, free_address, program};

/// PostgreSQL does not run as root: as nobody, then.
fn as_a_user(command: &mut Command, folder: &Path) {
    const NOBODY: u32 = 65534;
    if folder.metadata().unwrap().uid() == 0 {
        chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    if Path::new("/proc/self").metadata().unwrap().uid() == 0 {
        command.uid(NOBODY).gid(NOBODY);
    }
}

/// A PostgreSQL that serves until this is dropped. Its superuser is `postgres`, without a password.
#[derive(Debug)]
pub struct Postgres {
    /// Where it listens, soon.
    pub address: SocketAddr,
    // In this order: the server goes before its folder.
    _server: Server,
    _folder: TempDir,
}

/// Starts one with a new folder, if it is installed.
///
/// # Panics
/// If it cannot be made.
pub fn server() -> Option<Postgres> {
    let (initdb, postgres) = (program("initdb")?, program("postgres")?);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut command = Command::new("timeout");
    command.arg("50").arg(initdb).args([
        "--no-sync",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--pgdata",
    ]);
    command.arg(&data).current_dir("/");
    as_a_user(&mut command, folder.path());
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let address = free_address();
    let mut command = Command::new(postgres);
    command.arg("-D").arg(&data).arg("-k").arg(folder.path()).args([
        "-h",
        "127.0.0.1",
        "-p",
        &address.port().to_string(),
    ]);
    command.args(["-c", "fsync=off", "-c", "shared_buffers=16MB"]).current_dir("/");
    as_a_user(&mut command, folder.path());
    let server = Server::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
    Some(Postgres { address, _server: server, _folder: folder })
}
