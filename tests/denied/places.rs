//! Places where a loop can be had and something else cannot.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringtoss::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use ringtoss::{fs, op, pipe, process, time};

use crate::patience::patience;

use super::{ROLE, alone, is_root, limit_files};

/// What the child does to itself, or why it cannot, and then what works there.
pub fn live(place: &str) {
    let entered = match place {
        "no-proc" => hide_proc(),
        "no-proc-denied" => hide_proc().map(|()| super::deny(libc::SYS_io_uring_setup, libc::EPERM)),
        "chroot" => change_root(),
        // The parent has seen to it.
        "user-namespace" => Ok(()),
        "read-only" => read_only_root(),
        "nofile-64" => {
            limit_files(64);
            return serve_beyond_the_limit();
        }
        "memory" => {
            // The parent has put it there: it waits for the word.
            std::io::stdin().read_exact(&mut [0]).unwrap();
            return in_little_memory();
        }
        other => panic!("no such place: {other}"),
    };
    if let Err(error) = entered {
        return println!("\nLEFT OUT {place}: {error}");
    }
    let event_loop = match ringtoss::EventLoop::new() {
        Ok(event_loop) => event_loop,
        Err(error) => {
            // What cannot be known is not claimed.
            assert!(place == "no-proc-denied" && error.to_string().contains("without /proc"), "{error}");
            return println!("\nDONE");
        }
    };
    event_loop.block_on(async { time::timeout(patience(), a_day_in(place)).await.expect("stuck") });
    drop(event_loop);
    println!("\nDONE");
}

fn check(result: i32) -> std::io::Result<()> {
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// A mount namespace of this thread's own: what is mounted there is mounted nowhere else.
fn own_mounts() -> std::io::Result<()> {
    // SAFETY: strings that end, or nothing.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(std::ptr::null(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null()))
    }
}

fn hide_proc() -> std::io::Result<()> {
    own_mounts()?;
    // SAFETY: strings that end.
    unsafe {
        let (kind, place) = (c"tmpfs".as_ptr(), c"/proc".as_ptr());
        check(libc::mount(kind, place, kind, libc::MS_RDONLY, std::ptr::null()))
    }
}

/// An empty directory, but for one to write in.
fn change_root() -> std::io::Result<()> {
    let root = std::env::temp_dir().join(format!("ringtoss-root-{}", std::process::id()));
    std::fs::create_dir_all(root.join("tmp"))?;
    let path = std::ffi::CString::new(root.to_str().unwrap()).unwrap();
    // SAFETY: the string ends; only this process's view changes.
    unsafe {
        check(libc::chroot(path.as_ptr()))?;
    }
    std::env::set_current_dir("/")
}

/// Root in a user namespace, and nobody outside. Only a process of a single thread may make one: before it is a program.
fn become_root_of_nothing() -> std::io::Result<()> {
    let write = |path: &std::ffi::CStr, text: &[u8]| {
        // SAFETY: path and text live over the calls.
        unsafe {
            let file = libc::open(path.as_ptr(), libc::O_WRONLY);
            let written = libc::write(file, text.as_ptr().cast(), text.len());
            libc::close(file);
            check(if written == text.len() as isize { 0 } else { -1 })
        }
    };
    super::become_nobody();
    // SAFETY: no memory is passed.
    unsafe {
        check(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        check(libc::unshare(libc::CLONE_NEWUSER))?;
    }
    write(c"/proc/self/setgroups", b"deny")?;
    write(c"/proc/self/uid_map", b"0 65534 1")?;
    write(c"/proc/self/gid_map", b"0 65534 1")
}

/// With what is mounted below it.
fn read_only_root() -> std::io::Result<()> {
    own_mounts()?;
    let slash = c"/".as_ptr();
    // SAFETY: plain numbers, for which zero is valid.
    let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    let (attributes, size) = (&raw const attributes, size_of::<libc::mount_attr>());
    // SAFETY: strings that end, or nothing; the structure lives over the call, and its size is passed.
    unsafe {
        check(libc::mount(slash, slash, std::ptr::null(), libc::MS_BIND | libc::MS_REC, std::ptr::null()))?;
        check(libc::chroot(slash))?;
        check(libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, slash, libc::AT_RECURSIVE, attributes, size) as i32)
    }
}

/// Something of everything.
async fn a_day_in(place: &str) {
    echo().await;
    datagrams().await;
    let (mut one, mut other) = UnixStream::pair().unwrap();
    one.write_all("over there").await.0.unwrap();
    assert_eq!(other.read(vec![0; 64]).await.0.unwrap(), 10);
    let (mut sender, mut receiver) = pipe::pipe().unwrap();
    sender.write_all("through").await.0.unwrap();
    assert_eq!(receiver.read(vec![0; 64]).await.0.unwrap(), 7);
    time::sleep(Duration::from_millis(2)).await;
    assert_eq!(ringtoss::spawn_blocking(|| 5).await.unwrap(), 5);
    assert!(op::nop().timeout(patience()).await.is_ok());
    let mut stream = ringtoss::signal::unix::signal(ringtoss::signal::unix::SignalKind::user_defined1()).unwrap();
    // SAFETY: no memory is passed.
    unsafe { libc::raise(libc::SIGUSR1) };
    stream.recv().await.unwrap();
    let pool = ringtoss::buf::RegisteredPool::new(4096, 4);
    assert!(pool.is_ok() || place == "user-namespace", "{:?}", pool.err());
    files(place).await;
    processes(place).await;
    // A name that cannot be looked up is an error, not a loop that hangs.
    match ringtoss::net::lookup_host(("localhost", 80)).await {
        Ok(addresses) => assert!(addresses.count() > 0),
        Err(error) => println!("\nlocalhost: {error}"),
    }
    assert_eq!(ringtoss::metrics().stale_completions, 0);
}

async fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = ringtoss::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (result, bytes) = stream.read_exact(Vec::with_capacity(100_000), 100_000).await;
        result.unwrap();
        stream.write_all(bytes).await.0.unwrap();
    });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(vec![7; 100_000]).await.0.unwrap();
    let (result, bytes) = stream.read_to_end(Vec::new()).await;
    assert_eq!((result.unwrap(), bytes == vec![7; 100_000]), (100_000, true));
    server.await.unwrap();
}

async fn datagrams() {
    let (one, other) = (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    one.send_to("datagram", other.local_addr().unwrap()).await.0.unwrap();
    assert_eq!(other.recv_from(Vec::with_capacity(64)).await.1, b"datagram");
}

async fn files(place: &str) {
    let dir = if place == "chroot" { "/tmp".into() } else { std::env::temp_dir() };
    let path = dir.join(format!("ringtoss-place-{}", std::process::id()));
    if place == "read-only" {
        let ours = fs::write(&path, "x").await.unwrap_err();
        assert_eq!((ours.kind(), ours.raw_os_error()), (ErrorKind::ReadOnlyFilesystem, Some(libc::EROFS)));
        assert_eq!(fs::create_dir(&path).await.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::tempfile_in(&dir).await.unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        assert!(!fs::read("/proc/self/status").await.unwrap().is_empty());
        return;
    }
    fs::write(&path, "content").await.unwrap();
    assert_eq!(fs::read(&path).await.unwrap(), b"content");
    assert_eq!(fs::canonicalize(&path).await.unwrap().file_name(), path.file_name());
    let mut names = fs::read_dir(&dir).await.unwrap();
    let mut found = false;
    while let Some(entry) = names.next().await.transpose().unwrap() {
        found |= Some(entry.file_name().as_os_str()) == path.file_name();
    }
    assert!(found);
    let file = fs::File::options().write(true).open(&path).await.unwrap();
    // Without /proc there may be another way, or an error of std's kind.
    match file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).await {
        Ok(()) => {}
        Err(error) => println!("\nset_permissions: {error}"),
    }
    let named = dir.join(format!("ringtoss-named-{}", std::process::id()));
    let mut unnamed = fs::tempfile_in(&dir).await.unwrap();
    unnamed.write_all("later").await.0.unwrap();
    match unnamed.persist(&named).await {
        Ok(_) => {
            assert_eq!(fs::read(&named).await.unwrap(), b"later");
            fs::remove_file(&named).await.unwrap();
        }
        Err(error) => {
            println!("\npersist: {error:?}");
            assert!(!Path::new(&named).exists());
        }
    }
    fs::remove_file(&path).await.unwrap();
}

async fn processes(place: &str) {
    match process::Command::new("/bin/sh").args(["-c", "exit 3"]).status().await {
        Ok(status) => assert_eq!(status.code(), Some(3)),
        Err(error) => {
            assert!(place == "chroot", "{error}");
            assert_eq!(error.kind(), ErrorKind::NotFound);
        }
    }
}

/// A server that may have 64 files open, and 100 clients: those that find no room wait, and all are served.
fn serve_beyond_the_limit() {
    ringtoss::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nPORT {}", listener.local_addr().unwrap().port());
        let (served, refused) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((mut stream, _)) => {
                        let served = served.clone();
                        drop(ringtoss::spawn(async move {
                            let (result, bytes) = stream.read_exact(Vec::with_capacity(4), 4).await;
                            result.unwrap();
                            stream.write_all(bytes).await.0.unwrap();
                            served.set(served.get() + 1);
                        }));
                    }
                    Err(error) => {
                        assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                        refused.set(refused.get() + 1);
                        if refused.get() == 1 {
                            // Everything else that wants a descriptor says the same, and hangs nothing. Nobody has asked yet,
                            // so none becomes free.
                            let another = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap_err();
                            assert_eq!(another.raw_os_error(), Some(libc::EMFILE));
                            assert_eq!(fs::read("/etc/hosts").await.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                            println!("\nFULL");
                        }
                        time::sleep(Duration::from_millis(1)).await;
                    }
                }
            }
        };
        let all = async {
            while served.get() < 100 {
                time::sleep(Duration::from_millis(1)).await;
            }
        };
        futures::future::select(std::pin::pin!(accepting), std::pin::pin!(all)).await;
        assert!(refused.get() > 0);
        drop(listener);
        fs::read("/etc/hosts").await.unwrap();
        println!("\nDONE");
    });
}

/// Where a cgroup leaves it a few MiB: what it does with files goes through the page cache, which has to make room.
fn in_little_memory() {
    ringtoss::block_on(async {
        let work = async {
            let file = fs::tempfile_in("/var/tmp").await.unwrap();
            for at in 0..1024u64 {
                file.write_all_at(vec![at as u8; 65_536], at * 65_536).await.0.unwrap();
                if at % 64 == 63 {
                    // What is not on the disk yet cannot make room (cgroups of the first kind do not slow writers down).
                    file.sync_data().await.unwrap();
                }
            }
            for at in (0..1024u64).rev() {
                let (result, bytes) = file.read_exact_at(Vec::with_capacity(65_536), 65_536, at * 65_536).await;
                result.unwrap();
                assert!(bytes.iter().all(|&byte| byte == at as u8));
            }
            for _ in 0..20 {
                echo().await;
            }
            datagrams().await;
        };
        time::timeout(patience(), work).await.expect("stuck");
    });
    println!("\nDONE");
}

fn start(place: &str) -> std::process::Child {
    spawn(place).unwrap()
}

fn spawn(place: &str) -> std::io::Result<std::process::Child> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, format!("in-{place}"));
    child.env("RUST_BACKTRACE", "0").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if place == "user-namespace" {
        // SAFETY: it makes system calls and nothing else.
        unsafe { child.pre_exec(become_root_of_nothing) };
    }
    child.spawn()
}

/// Waits for its end, no longer than a while, and checks what it has said.
fn finish(place: &str, mut child: std::process::Child) {
    let (pid, (over, is_over)) = (child.id() as i32, std::sync::mpsc::channel::<()>());
    std::thread::spawn(move || {
        if is_over.recv_timeout(2 * patience()) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            // SAFETY: no memory is passed; the child has not been waited for.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    });
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    drop(over);
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{place}: {}\n{said}\n{errors}", output.status);
    match said.lines().find(|line| line.starts_with("LEFT OUT")) {
        Some(line) => eprintln!("{line}"),
        None => assert!(said.contains("DONE"), "{place}: {said}\n{errors}"),
    }
    for line in said.lines().filter(|line| line.contains(": ")) {
        println!("{place}: {line}");
    }
}

fn visit(place: &str) {
    if !is_root() {
        return eprintln!("LEFT OUT {place}: only root may make it");
    }
    let _alone = alone();
    finish(place, start(place));
}

#[test]
fn without_proc_it_works() {
    visit("no-proc");
}

#[test]
fn without_proc_a_denial_names_what_it_may_be() {
    visit("no-proc-denied");
}

#[test]
fn in_a_chroot_it_works() {
    visit("chroot");
}

#[test]
fn in_a_user_namespace_it_works() {
    if !is_root() {
        return eprintln!("LEFT OUT user-namespace: only root can become nobody first");
    }
    let _alone = alone();
    match spawn("user-namespace") {
        Ok(child) => finish("user-namespace", child),
        Err(error) => eprintln!("LEFT OUT user-namespace: {error}"),
    }
}

#[test]
fn with_a_read_only_root_it_works() {
    visit("read-only");
}

#[test]
fn a_server_at_its_limit_of_open_files_serves_everybody_in_the_end() {
    let _alone = alone();
    let mut child = start("nofile-64");
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut hear = |what: &str| {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0, "it has ended before {what}");
            if let Some(rest) = line.trim().strip_prefix(what) {
                return rest.trim().to_string();
            }
        }
    };
    let port: u16 = hear("PORT").parse().unwrap();
    let mut clients: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    hear("FULL");
    for client in &mut clients {
        client.set_read_timeout(Some(patience())).unwrap();
        client.write_all(b"ping").unwrap();
    }
    for mut client in clients {
        let mut answer = [0; 4];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
    }
    hear("DONE");
    assert!(child.wait().unwrap().success());
}

/// A cgroup of the test's own, with this limit of memory; the first hierarchy that can be written to.
struct Cgroup(std::path::PathBuf);

impl Cgroup {
    fn with_memory(bytes: u64) -> Option<Cgroup> {
        let name = format!("ringtoss-{}", std::process::id());
        for (root, limit) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let path = Path::new(root).join(&name);
            if std::fs::create_dir(&path).is_ok() {
                let group = Cgroup(path);
                if std::fs::write(group.0.join(limit), bytes.to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        None
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Whoever has been waited for is no longer in it. When the test has failed somebody may be.
        let start = Instant::now();
        while let Err(error) = std::fs::remove_dir(&self.0) {
            let inside = std::fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
            for pid in inside.lines().filter_map(|pid| pid.parse().ok()) {
                // SAFETY: no memory is passed.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            if start.elapsed() > patience() {
                return eprintln!("{} is left behind: {error}", self.0.display());
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn in_little_memory_it_works() {
    let Some(group) = is_root().then(|| Cgroup::with_memory(32 << 20)).flatten() else {
        return eprintln!("LEFT OUT memory: no cgroup with a limit can be made");
    };
    let _alone = alone();
    let mut child = start("memory");
    std::fs::write(group.0.join("cgroup.procs"), child.id().to_string()).unwrap();
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    finish("memory", child);
}
