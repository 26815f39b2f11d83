//! Restricted places, each for real, in a child process. Where no ring can be had the error names the cause and the fix;
//! where one can be had, what works works, and what does not is an error.
#![allow(unsafe_code, reason = "limits and filters are set by system calls")]

#[path = "../patience/mod.rs"]
mod patience;
mod places;

use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

const ROLE: &str = "RINGTOSS_DENIED_AS";

/// One child at a time: a sysctl concerns them all.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the child does to itself before it builds a loop.
fn restrict(how: &str) {
    match how {
        "seccomp-eperm" => deny(libc::SYS_io_uring_setup, libc::EPERM),
        "seccomp-enosys" => deny(libc::SYS_io_uring_setup, libc::ENOSYS),
        "preadv2" => deny(libc::SYS_preadv2, libc::EPERM),
        "memlock" => {
            limit_locked_memory(4096);
            become_nobody();
        }
        "memlock-64k" => {
            // Enough for a ring, not for pinning what is sent, nor for buffers.
            limit_locked_memory(64 * 1024);
            become_nobody();
        }
        "nofile" => limit_files(3),
        "nofile-4" => limit_files(4),
        "nproc" => {
            become_nobody();
            let limit = rlimit(1);
            // SAFETY: the structure lives over the call.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const limit) }, 0);
        }
        "nobody" => become_nobody(),
        "nothing" => {}
        other => panic!("no such restriction: {other}"),
    }
}

fn rlimit(value: libc::rlim_t) -> libc::rlimit {
    libc::rlimit { rlim_cur: value, rlim_max: value }
}

fn limit_locked_memory(bytes: libc::rlim_t) {
    let limit = rlimit(bytes);
    // SAFETY: the structure lives over the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) }, 0);
}

fn limit_files(files: libc::rlim_t) {
    let limit = rlimit(files);
    // SAFETY: the structure lives over the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

fn become_nobody() {
    // SAFETY: no memory is passed but an empty list.
    unsafe {
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(65534, 65534, 65534), 0);
        assert_eq!(libc::setresuid(65534, 65534, 65534), 0);
    }
}

/// A seccomp filter as Docker's default profile has one: this call gives this error.
fn deny(call: libc::c_long, errno: i32) {
    let load = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    let is_it = libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: call as u32 };
    let deny = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | errno as u32 };
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let mut program = [load, is_it, deny, allow];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program lives over the call, which copies it.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// Not a test of its own: what the child runs.
#[test]
fn child() {
    let Ok(how) = std::env::var(ROLE) else { return };
    if let Some(place) = how.strip_prefix("in-") {
        return places::live(place);
    }
    restrict(&how);
    if how == "memlock-64k" {
        return pin_memory();
    }
    if how == "nproc" {
        return start_no_thread();
    }
    if how == "preadv2" {
        return read_by_the_ring();
    }
    match ringtoss::EventLoop::new() {
        Ok(event_loop) => {
            event_loop.block_on(async { ringtoss::op::nop().await.unwrap() });
            println!("BUILT");
        }
        Err(error) => println!("ERROR {:?} {error}", error.kind()),
    }
}

/// On a small ring, whose memory counts, too.
fn pin_memory() {
    let event_loop = ringtoss::EventLoop::builder().submission_entries(8).build().unwrap();
    event_loop.block_on(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = ringtoss::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (peer, _) = listener.accept().unwrap();
        let reader = std::thread::spawn(move || std::io::copy(&mut &peer, &mut std::io::sink()).unwrap());
        stream.send_all_zc(vec![7; 4 << 20]).await.0.unwrap();
        drop(stream);
        let error = ringtoss::buf::RegisteredPool::new(4096, 1000).unwrap_err();
        assert!(error.kind() == std::io::ErrorKind::OutOfMemory, "{error}");
        assert!(error.to_string().contains("RLIMIT_MEMLOCK (65536"), "{error}");
        assert!(error.to_string().contains("Fix: "), "{error}");
        let count = ringtoss::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
        assert_eq!(count, 4 << 20);
    });
    println!("BUILT");
}

/// What the kernel makes by a thread of its own, and cannot.
fn start_no_thread() {
    ringtoss::block_on(async {
        let error = ringtoss::fs::metadata("/").await.unwrap_err();
        assert!(error.to_string().contains("ulimit -u"), "{error}");
        let error = ringtoss::fs::write("/tmp/nobody", "x").await.unwrap_err();
        assert!(error.to_string().contains("ulimit -u"), "{error}");
        let error = ringtoss::fs::canonicalize("/").await.unwrap_err();
        assert!(error.to_string().contains("ulimit -u"), "{error}");
        // Who cancels is told what is so everywhere.
        let token = ringtoss::CancellationToken::new();
        token.cancel();
        let error = ringtoss::fs::metadata("/").cancel_on(&token).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        // A large transfer is given to a thread only where there is one: here it is made on the spot, where the file system can.
        let this = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        let len = this.metadata().unwrap().len() as usize;
        assert!(len > 1 << 20);
        let file = ringtoss::fs::File::from_std(this);
        let read = ringtoss::spawn_blocking(|| ()).await;
        assert!(read.is_err(), "there is no thread for the pool, either");
        // On some (tmpfs) reads always want a thread.
        let can = file.read_exact_at(Vec::with_capacity(1), 1, 0).await.0.is_ok();
        match file.read_exact_at(Vec::with_capacity(len), len, 0).await {
            (Ok(count), bytes) => assert!(count == len && bytes.len() == len),
            (Err(error), _) => assert!(!can && error.to_string().contains("ulimit -u"), "{error}"),
        }
        let scratch = ringtoss::fs::File::from_std(tempfile::tempfile().unwrap());
        if let Err(error) = scratch.write_all_at(vec![7; 2 << 20], 0).await.0 {
            assert!(error.to_string().contains("ulimit -u"), "{error}");
        }
        // Sockets and what else needs no thread works.
        let listener = ringtoss::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_stream, accepted) = (
            ringtoss::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap(),
            listener.accept().await.unwrap(),
        );
        drop(accepted);
    });
    println!("BUILT");
}

/// Files, where what is tried first is forbidden.
fn read_by_the_ring() {
    let this = std::env::current_exe().unwrap();
    ringtoss::block_on(async {
        let small = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(small.path(), "small").unwrap();
        let memory = ringtoss::fs::MemfdOptions::new().create("memory").unwrap();
        memory.write_all_at("memory", 0).await.0.unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&memory);
        for (path, content) in [
            (this.clone(), std::fs::read(&this).unwrap()),
            (small.path().to_owned(), b"small".to_vec()),
            (format!("/proc/self/fd/{number}").into(), b"memory".to_vec()),
        ] {
            assert!(ringtoss::fs::read(&path).await.unwrap() == content, "{}", path.display());
            let file = ringtoss::fs::File::open(&path).await.unwrap();
            for _ in 0..4 {
                let (result, bytes) = file.read_exact_at(vec![0; 5], 5, 0).await;
                result.unwrap();
                assert!(bytes == content[..5], "{}", path.display());
            }
        }
    });
    println!("BUILT");
}

fn run(how: &str) -> String {
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new(this);
    child.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, how).env("RUST_BACKTRACE", "0");
    let Output { stdout, stderr, status } = child.output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{how}: {text}\n{}", String::from_utf8_lossy(&stderr));
    let line =
        text.lines().find_map(|line| line.find("ERROR ").or(line.find("BUILT")).map(|at| line[at..].to_string()));
    line.unwrap_or_else(|| panic!("{how}: {text}"))
}

fn is_root() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::geteuid() == 0 }
}

#[track_caller]
fn assert_says(how: &str, parts: &[&str]) {
    let line = run(how);
    for part in parts {
        assert!(line.contains(part), "{how}: {line:?} does not say {part:?}");
    }
}

#[test]
fn nothing_denied_builds() {
    let _alone = alone();
    assert_eq!(run("nothing"), "BUILT");
}

#[test]
fn a_call_that_is_forbidden_is_made_by_the_ring() {
    let _alone = alone();
    assert_eq!(run("preadv2"), "BUILT");
}

#[test]
fn a_seccomp_filter_is_named() {
    let _alone = alone();
    assert_says("seccomp-eperm", &["PermissionDenied", "seccomp filter denies io_uring", "Fix: ", "io_uring_setup"]);
    assert_says("seccomp-enosys", &["Unsupported", "seccomp filter denies io_uring", "Fix: "]);
}

#[test]
fn the_memlock_limit_is_named() {
    let _alone = alone();
    if !is_root() {
        return eprintln!("left out: only root can become somebody whom the limit concerns and still be sure of it");
    }
    assert_says("memlock", &["OutOfMemory", "RLIMIT_MEMLOCK (4096", "ulimit -l", "Fix: "]);
}

/// Where the kernel can start no thread, what needs one says so, and nobody is told that it was cancelled.
#[test]
fn the_limit_of_threads_is_named() {
    let _alone = alone();
    if !is_root() {
        return eprintln!("left out: only root can become somebody whom the limit concerns and still be sure of it");
    }
    assert_eq!(run("nproc"), "BUILT");
}

/// What may not be pinned is copied, and what cannot be registered says why.
#[test]
fn the_memlock_limit_concerns_what_is_pinned() {
    let _alone = alone();
    if !is_root() {
        return eprintln!("left out: only root can become somebody whom the limit concerns and still be sure of it");
    }
    assert_eq!(run("memlock-64k"), "BUILT");
}

#[test]
fn the_limit_of_open_files_is_named() {
    let _alone = alone();
    // None left for the eventfd; one left, and none for the ring.
    for how in ["nofile", "nofile-4"] {
        assert_says(how, &["RLIMIT_NOFILE", "ulimit -n", "Fix: "]);
    }
}

/// Sets the sysctl back, whatever happens.
struct Sysctl(String);

impl Sysctl {
    const PATH: &str = "/proc/sys/kernel/io_uring_disabled";

    fn set(value: &str) -> Option<Sysctl> {
        let before = std::fs::read_to_string(Self::PATH).ok()?;
        std::fs::write(Self::PATH, value).ok()?;
        Some(Sysctl(before))
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        std::fs::write(Self::PATH, &self.0).expect("the sysctl must be set back");
    }
}

#[test]
fn the_sysctl_is_named() {
    let _alone = alone();
    // It concerns the whole machine. 1 leaves root's processes alone; 2 does not, so it is asked for.
    let Some(sysctl) = is_root().then(|| Sysctl::set("1")).flatten() else {
        return eprintln!("left out: the sysctl cannot be set here");
    };
    assert_says("nobody", &["PermissionDenied", "io_uring_disabled=1", "io_uring_group", "Fix: "]);
    drop(sysctl);
    if std::env::var_os("RINGTOSS_TEST_SYSCTL").is_some() {
        let sysctl = Sysctl::set("2").unwrap();
        let line = run("nothing");
        drop(sysctl);
        assert!(line.contains("io_uring_disabled=2") && line.contains("Fix: "), "{line}");
    }
}
