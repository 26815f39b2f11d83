//! How often a loop calls the kernel: once a turn under load of small messages, and not at all while it sleeps. Counted by the loop itself and,
//! where strace is installed, by that.

#[path = "patience/mod.rs"]
mod patience;

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use ringtoss::net::{TcpListener, TcpStream};
use ringtoss::{EventLoop, op, spawn, time};

use patience::{patience, seconds};

const ROLE: &str = "RINGTOSS_TEST_ROLE";
const CONNECTIONS: usize = 64;
const REQUESTS_EACH: usize = 1000;
const REQUESTS: usize = CONNECTIONS * REQUESTS_EACH;

// ---- what the other processes run -------------------------------------------------------------------------------------

/// Serves the connections until they are closed, and prints what that took.
async fn echo_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("PORT {}", listener.local_addr().unwrap().port());
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        streams.push(listener.accept().await.unwrap().0);
    }
    let requests = Rc::new(Cell::new(0));
    let before = ringtoss::metrics();
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let requests = requests.clone();
            spawn(async move {
                let mut buf = Vec::with_capacity(64);
                loop {
                    let (result, bytes) = stream.read(buf).await;
                    if result.unwrap() == 0 {
                        return;
                    }
                    requests.set(requests.get() + bytes.len());
                    let (result, bytes) = stream.write_all(bytes).await;
                    result.unwrap();
                    buf = bytes;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let after = ringtoss::metrics();
    assert_eq!(requests.get() / 64, REQUESTS);
    println!("COUNTS {} {}", after.turns - before.turns, after.enters - before.enters);
}

/// Each connection sends `together` requests at once; with more than one, the next lot is under way before the answers to
/// the last have come.
async fn echo_clients(port: u16, together: usize) {
    let mut streams = Vec::new();
    for _ in 0..CONNECTIONS {
        streams.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let (lots, ahead) = (REQUESTS_EACH / together, usize::from(together > 1));
    let tasks: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            spawn(async move {
                for lot in 0..lots + ahead {
                    if lot < lots {
                        stream.write_all(vec![lot as u8; 64 * together]).await.0.unwrap();
                    }
                    if lot >= ahead {
                        let (result, got) = stream.read_exact(Vec::with_capacity(64 * together), 64 * together).await;
                        result.unwrap();
                        assert!(got.iter().all(|&byte| byte == (lot - ahead) as u8));
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Not a test of its own: what the other processes run.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    ringtoss::block_on(async {
        let work = async {
            match *role.split(' ').collect::<Vec<_>>() {
                ["clients", port, together] => echo_clients(port.parse().unwrap(), together.parse().unwrap()).await,
                _ => echo_server().await,
            }
        };
        time::timeout(seconds(120), work).await.expect("stuck");
    });
}

// ---- echo -------------------------------------------------------------------------------------------------------------

fn as_child(mut command: Command, role: &str) -> Child {
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, role);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn value_after(output: &mut BufReader<ChildStdout>, word: &str) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "the server has ended and not said {word}");
        if let Some((_, value)) = line.split_once(word) {
            return value.trim().to_string();
        }
    }
}

/// Turns and kernel entries of a server that `command` runs, for all requests.
fn serve(command: Command, together: usize) -> (usize, usize) {
    let mut server = as_child(command, "server");
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let port = value_after(&mut output, "PORT ");
    let mut clients = as_child(this(), &format!("clients {port} {together}"));
    let counts = value_after(&mut output, "COUNTS ");
    let (turns, enters) = counts.split_once(' ').unwrap();
    assert!(clients.wait().unwrap().success());
    assert!(server.wait().unwrap().success());
    (turns.parse().unwrap(), enters.parse().unwrap())
}

fn this() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn per_entry(enters: usize) -> f64 {
    REQUESTS as f64 / enters as f64
}

#[test]
fn an_echo_server_enters_the_kernel_once_a_turn_and_once_for_many_requests() {
    // One request under way a connection: how many come together is the clients' affair.
    let (turns, enters) = serve(this(), 1);
    println!("one under way: {turns} turns, {enters} entries, {:.1} requests an entry", per_entry(enters));
    assert!(enters <= turns, "{enters} entries in {turns} turns");
    // Full load: there is always another one.
    let (turns, enters) = serve(this(), 20);
    println!("full load: {turns} turns, {enters} entries, {:.1} requests an entry", per_entry(enters));
    assert!(enters <= turns, "{enters} entries in {turns} turns");
    assert!(enters * 16 < REQUESTS, "{enters} entries for {REQUESTS} requests");
}

#[test]
fn strace_counts_the_same() {
    let table = std::env::temp_dir().join(format!("ringtoss-strace-{}", std::process::id()));
    let mut traced = Command::new("strace");
    traced.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&table).arg(std::env::current_exe().unwrap());
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        return println!("left out: strace is not installed or may not trace here");
    }
    let (turns, enters) = serve(traced, 20);
    let text = std::fs::read_to_string(&table).unwrap();
    std::fs::remove_file(&table).unwrap();
    let calls: Vec<(&str, usize)> = text
        .lines()
        .filter_map(|line| line.trim().split_once(char::is_whitespace))
        .filter_map(|(name, calls)| Some((name, calls.trim().parse().ok()?)))
        .collect();
    let count = |name: &str| calls.iter().find(|call| call.0 == name).map_or(0, |call| call.1);
    let all = count("total");
    println!(
        "strace: {turns} turns, {enters} entries by the loop's count, {} by strace's, {all} calls in all",
        count("io_uring_enter")
    );
    assert!(all > 0, "{text}");
    // The turns before and after the load are strace's, too.
    assert!((enters..enters + 300).contains(&count("io_uring_enter")), "{text}");
    assert!(all - count("io_uring_enter") < 1000, "the loop makes no other calls:\n{text}");
    assert!(all * 16 < REQUESTS, "{text}");
}

// ---- idle -------------------------------------------------------------------------------------------------------------

/// How often this thread has been put on a CPU.
fn timeslices(thread: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap();
    text.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// The state letter of a thread, and the system call that it is in.
fn state(thread: &str) -> (char, Option<i64>) {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    let state = stat.rsplit_once(") ").unwrap().1.chars().next().unwrap();
    let call = std::fs::read_to_string(format!("/proc/self/task/{thread}/syscall")).ok();
    (state, call.and_then(|call| call.split_whitespace().next()?.parse().ok()))
}

#[test]
fn an_idle_loop_sleeps_in_one_call_and_uses_no_cpu() {
    let (tell, told) = std::sync::mpsc::channel();
    let (wake, woken) = tokio::sync::oneshot::channel();
    let thread = std::thread::spawn(move || {
        let event_loop = EventLoop::new().unwrap();
        event_loop.block_on(async {
            // Things that could keep it busy: an operation, tasks, far timers, a waker elsewhere.
            let (reader, _writer) = std::io::pipe().unwrap();
            let waiting = spawn(async move { op::poll_readable(&reader).await });
            let far = spawn(time::sleep(Duration::from_secs(3600)));
            let mut ticks = time::interval(Duration::from_secs(3600));
            ticks.tick().await;
            let ticking = spawn(async move { ticks.tick().await });
            op::nop().await.unwrap();
            let link = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(link.file_name().unwrap().to_str().unwrap().to_string()).unwrap();
            let before = ringtoss::metrics();
            woken.await.unwrap();
            let after = ringtoss::metrics();
            drop((waiting, far, ticking));
            (after.enters - before.enters, after.turns - before.turns)
        })
    });
    let id = told.recv().unwrap();
    let end = std::time::Instant::now() + patience();
    let in_kernel =
        |(state, call): (char, Option<i64>)| state == 'S' && call.is_none_or(|call| call == libc::SYS_io_uring_enter);
    while !in_kernel(state(&id)) {
        assert!(std::time::Instant::now() < end, "it never sleeps");
        std::thread::sleep(Duration::from_millis(1));
    }
    let before = timeslices(&id);
    std::thread::sleep(Duration::from_millis(500));
    assert!(in_kernel(state(&id)));
    assert_eq!(timeslices(&id), before, "a loop with nothing to do was put on a CPU");
    wake.send(()).unwrap();
    let (enters, turns) = thread.join().unwrap();
    // What was staged goes with the enter that sleeps; the wake ends it.
    assert!(enters <= 2 && turns <= 3, "{enters} entries, {turns} turns");
}
