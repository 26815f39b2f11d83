//! Standard input, output and error, of every kind. Each case is a child of this program, because a process has them once.
//!
//! Without the harness, whose own output would be in the way.
#![allow(unsafe_code)]

#[path = "patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::Poll;
use std::time::{Duration, Instant};

use ringtoss::io::{stderr, stdin, stdout};
use ringtoss::time;

fn main() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("child") => child(&arguments.next().unwrap()),
        // As the harness does for who lists or filters tests.
        Some("--list") => println!("stdio: test"),
        _ => parent(),
    }
}

// ---- the cases ------------------------------------------------------------------------------------------------

fn parent() {
    let cases: &[(&str, fn())] = &[
        ("pipes", pipes),
        ("files", files),
        ("devices", devices),
        ("terminal", terminal),
        ("nothing is set on shared pipes", flags_stay),
        ("non-blocking pipes of somebody else's", non_blocking),
        ("dropped reads of a pipe", dropped_reads_of_a_pipe),
        ("dropped reads of a file", dropped_reads_of_a_file),
        ("a read that nobody answers does not keep a program alive", unanswered),
        ("output and error in one file", one_file),
        ("they stay open", stay_open),
        ("broken output", broken),
    ];
    std::thread::spawn(|| {
        std::thread::sleep(patience::seconds(120));
        eprintln!("a case hangs");
        std::process::exit(1);
    });
    println!("running {} cases", cases.len());
    for (name, case) in cases {
        case();
        println!("case {name} ... ok");
    }
}

fn start(case: &str, input: impl Into<Stdio>, output: impl Into<Stdio>, error: impl Into<Stdio>) -> Child {
    let program = std::env::current_exe().unwrap();
    Command::new(program).args(["child", case]).stdin(input).stdout(output).stderr(error).spawn().unwrap()
}

/// Waits for the child's end, for a bounded time.
#[track_caller]
fn succeeds(mut child: Child) {
    let start = Instant::now();
    while start.elapsed() < patience::patience() {
        if let Some(status) = child.try_wait().unwrap() {
            let mut errors = String::new();
            if let Some(mut pipe) = child.stderr.take() {
                pipe.read_to_string(&mut errors).unwrap();
            }
            assert!(status.success(), "{status}: {errors}");
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    panic!("the child hangs");
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

fn content(mut file: std::fs::File) -> Vec<u8> {
    let mut content = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut content).unwrap();
    content
}

/// Writes from a thread what the child reads, and closes it.
fn feed(child: &mut Child, content: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut input = child.stdin.take().unwrap();
    std::thread::spawn(move || input.write_all(&content).unwrap())
}

fn pipes() {
    let mut child = start("echo", Stdio::piped(), Stdio::piped(), Stdio::piped());
    let feeder = feed(&mut child, text(1 << 20));
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    assert!(back == text(1 << 20));
    feeder.join().unwrap();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "1048576 bytes\n");
    succeeds(child);
}

fn files() {
    let (input, output) = (file(&text(100_000)), file(b""));
    succeeds(start("echo", input.try_clone().unwrap(), output.try_clone().unwrap(), Stdio::piped()));
    assert!(content(output) == text(100_000));
    // Behind what is there, in a file that is open for appending.
    let path = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(path.path(), "before ").unwrap();
    let append = std::fs::OpenOptions::new().append(true).open(path.path()).unwrap();
    succeeds(start("echo", file(b"after"), append, Stdio::piped()));
    assert_eq!(std::fs::read(path.path()).unwrap(), b"before after");
}

fn devices() {
    succeeds(start("echo", Stdio::null(), Stdio::null(), Stdio::piped()));
}

/// A pseudo-terminal's two ends.
fn open_terminal() -> (std::fs::File, std::fs::File) {
    let master = std::fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
    let (unlock, mut number) = (0i32, 0i32);
    // SAFETY: both calls get the address of a live number.
    let results = unsafe {
        (
            libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock),
            libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number),
        )
    };
    assert_eq!(results, (0, 0));
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    let slave = options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(format!("/dev/pts/{number}")).unwrap();
    (master, slave)
}

/// Reads until this has come.
fn expect(from: &mut std::fs::File, what: &str) {
    let mut seen = String::new();
    let mut byte = [0];
    while !seen.ends_with(what) {
        from.read_exact(&mut byte).unwrap();
        seen.push(byte[0] as char);
    }
}

fn terminal() {
    let (mut master, slave) = open_terminal();
    let ends = || slave.try_clone().unwrap();
    let child = start("lines", ends(), ends(), ends());
    expect(&mut master, "ready\r\n");
    for line in ["one", "two"] {
        master.write_all(format!("{line}\n").as_bytes()).unwrap();
        expect(&mut master, &format!("<{line}>\r\n"));
    }
    // Control-D.
    master.write_all(b"\x04").unwrap();
    succeeds(child);
    assert_eq!(status_flags(slave.as_raw_fd()) & libc::O_NONBLOCK, 0);
}

fn status_flags(fd: RawFd) -> i32 {
    // SAFETY: no memory is passed.
    unsafe { libc::fcntl(fd, libc::F_GETFL) }
}

fn set_non_blocking(fd: RawFd) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, status_flags(fd) | libc::O_NONBLOCK) }, 0);
}

fn flags_stay() {
    let ((reader, mut feeder), (mut back, writer)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let before = (status_flags(reader.as_raw_fd()), status_flags(writer.as_raw_fd()));
    let (error, _) = open_terminal();
    let child = start("lines", reader.try_clone().unwrap(), writer.try_clone().unwrap(), error);
    let mut ready = [0; 6];
    back.read_exact(&mut ready).unwrap();
    // The child waits for input, or soon will.
    feeder.write_all(b"x\n").unwrap();
    let mut answer = [0; 4];
    back.read_exact(&mut answer).unwrap();
    assert_eq!((status_flags(reader.as_raw_fd()), status_flags(writer.as_raw_fd())), before);
    drop(feeder);
    succeeds(child);
    assert_eq!((status_flags(reader.as_raw_fd()), status_flags(writer.as_raw_fd())), before);
}

fn non_blocking() {
    let ((reader, mut feeder), (mut back, writer)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    set_non_blocking(reader.as_raw_fd());
    set_non_blocking(writer.as_raw_fd());
    let child = start("echo", reader, writer, Stdio::piped());
    let feeding = std::thread::spawn(move || {
        for part in text(1 << 20).chunks(300_000) {
            // The child finds its input empty now and then.
            std::thread::sleep(Duration::from_millis(5));
            feeder.write_all(part).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(20));
    let mut echoed = Vec::new();
    back.read_to_end(&mut echoed).unwrap();
    assert!(echoed == text(1 << 20));
    feeding.join().unwrap();
    succeeds(child);
}

fn dropped_reads_of_a_pipe() {
    let mut child = start("impatient", Stdio::piped(), Stdio::piped(), Stdio::piped());
    let mut input = child.stdin.take().unwrap();
    let feeding = std::thread::spawn(move || {
        for part in text(20_000).chunks(100) {
            input.write_all(part).unwrap();
            std::thread::sleep(Duration::from_micros(500));
        }
    });
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    feeding.join().unwrap();
    succeeds(child);
    assert!(back == text(20_000), "nothing is lost, and it is in order");
}

fn dropped_reads_of_a_file() {
    let (input, output) = (file(&text(20_000)), file(b""));
    succeeds(start("impatient", input, output.try_clone().unwrap(), Stdio::piped()));
    assert!(content(output) == text(20_000));
    // The position is that of the open file, which other processes share.
    let mut input = file(b"first second");
    succeeds(start("five bytes", input.try_clone().unwrap(), Stdio::piped(), Stdio::piped()));
    assert_eq!(input.stream_position().unwrap(), 5);
}

fn unanswered() {
    let (_master, slave) = open_terminal();
    succeeds(start("unanswered", slave, Stdio::null(), Stdio::piped()));
    let (reader, _writer) = std::io::pipe().unwrap();
    succeeds(start("unanswered", reader, Stdio::null(), Stdio::piped()));
}

fn one_file() {
    let output = file(b"");
    let mut child = start("both outputs", Stdio::null(), output.try_clone().unwrap(), output.try_clone().unwrap());
    assert!(child.wait().unwrap().success());
    let content = String::from_utf8(content(output)).unwrap();
    let mut lines: Vec<_> = content.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..1000)
        .flat_map(|n| [format!("output {n} {}", "x".repeat(n)), format!("error {n} {}", "y".repeat(n))])
        .collect();
    expected.sort_unstable();
    assert!(lines == expected, "{} lines of {}", lines.len(), expected.len());
}

fn stay_open() {
    let mut child = start("again and again", Stdio::piped(), Stdio::piped(), Stdio::piped());
    let feeder = feed(&mut child, b"abcdefghij".to_vec());
    let mut back = String::new();
    child.stdout.take().unwrap().read_to_string(&mut back).unwrap();
    feeder.join().unwrap();
    succeeds(child);
    assert_eq!(back, "abcdefghijstd");
}

fn broken() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    succeeds(start("broken", Stdio::null(), writer, Stdio::piped()));
}

// ---- the children ---------------------------------------------------------------------------------------------

fn child(case: &str) {
    match case {
        "echo" => ringtoss::block_on(echo()),
        "lines" => ringtoss::block_on(lines()),
        "impatient" => ringtoss::block_on(impatient()),
        "five bytes" => ringtoss::block_on(async {
            let (result, buf) = stdin().read_exact(Vec::with_capacity(64), 5).await;
            result.unwrap();
            assert_eq!(buf, b"first");
            let mut read = Box::pin(async { stdin().read(Vec::with_capacity(4)).await });
            let _ = poll_once(&mut read).await;
            ringtoss::op::nop().await.unwrap();
        }),
        "unanswered" => ringtoss::block_on(async {
            let waiting = ringtoss::spawn(async { stdin().read(Vec::with_capacity(64)).await.0 });
            let limited = time::timeout(Duration::from_millis(20), waiting).await;
            assert!(limited.is_err());
        }),
        "both outputs" => ringtoss::block_on(async {
            let one = ringtoss::spawn(async {
                for n in 0..1000 {
                    stdout().write_all(format!("output {n} {}\n", "x".repeat(n))).await.0.unwrap();
                }
            });
            for n in 0..1000 {
                stderr().write_all(format!("error {n} {}\n", "y".repeat(n))).await.0.unwrap();
            }
            one.await.unwrap();
        }),
        "again and again" => again_and_again(),
        "broken" => ringtoss::block_on(async {
            let error = stdout().write_all("x").await.0.unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
        }),
        other => panic!("{other}"),
    }
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

async fn echo() {
    let (mut input, mut output) = (stdin(), stdout());
    let (mut buf, mut total) = (Vec::with_capacity(10_000), 0);
    loop {
        let result;
        (result, buf) = input.read(buf).await;
        let count = result.unwrap();
        if count == 0 {
            break;
        }
        total += count;
        let half = buf.split_off(count / 2);
        let (result, bufs) = output.write_vectored((buf, half)).await;
        let written = result.unwrap();
        buf = bufs.0;
        buf.extend_from_slice(&bufs.1);
        let rest = buf[written..].to_vec();
        output.write_all(rest).await.0.unwrap();
    }
    stderr().write_all(format!("{total} bytes\n")).await.0.unwrap();
}

async fn lines() {
    stdout().write_all("ready\n").await.0.unwrap();
    loop {
        // A new handle each time, and what an earlier one has dropped.
        let _ = time::timeout(Duration::from_micros(100), stdin().readable()).await;
        let (result, line) = stdin().read(Vec::with_capacity(64)).await;
        if result.unwrap() == 0 {
            return;
        }
        let line = std::str::from_utf8(&line).unwrap().trim_end();
        stdout().write_all(format!("<{line}>\n")).await.0.unwrap();
    }
}

/// Gives up on most reads, at different points.
async fn impatient() {
    let mut round = 0u64;
    loop {
        round += 1;
        let limit = Duration::from_micros(round % 7 * 50);
        let mut input = stdin();
        let read = input.read(Vec::with_capacity(1 + (round % 130) as usize));
        let Ok((result, buf)) = time::timeout(limit, read).await else { continue };
        if result.unwrap() == 0 {
            return;
        }
        stdout().write_all(buf).await.0.unwrap();
    }
}

/// Handles come and go, and so do loops, on several threads.
fn again_and_again() {
    for _ in 0..5 {
        let step = || {
            ringtoss::block_on(async {
                let (result, buf) = stdin().read(Vec::with_capacity(1)).await;
                result.unwrap();
                stdout().write_all(buf).await.0.unwrap();
                let mut dropped = Box::pin(async { stdin().read(Vec::with_capacity(1)).await });
                let _ = poll_once(&mut dropped).await;
            })
        };
        step();
        std::thread::spawn(step).join().unwrap();
    }
    for fd in 0..3 {
        assert!(status_flags(fd) >= 0, "{fd} is open");
    }
    std::io::stdout().write_all(b"std").unwrap();
    std::io::stdout().flush().unwrap();
}
