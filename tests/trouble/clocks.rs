//! Clocks that are set, and clocks that tell other times in other namespaces.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use ringtoss::compat::Guest;
use ringtoss::time::{self, Instant};

use crate::util::*;

/// Timers of every kind, which must take as long as they say, and not forever.
pub fn timers() {
    run(async {
        let start = Instant::now();
        time::sleep(Duration::from_millis(30)).await;
        assert!(start.elapsed() >= Duration::from_millis(30));
        time::sleep_until(start + Duration::from_millis(60)).await;
        assert!(start.elapsed() >= Duration::from_millis(60));
        let mut ticks = time::interval(Duration::from_millis(5));
        for _ in 0..5 {
            ticks.tick().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(80));
        let never = time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
        assert!(never.is_err());
        // A limit that the kernel looks after, on a thread that otherwise waits.
        let (reader, _writer) = std::io::pipe().unwrap();
        let limited = ringtoss::op::poll_readable(&reader).timeout(Duration::from_millis(20)).await;
        assert_eq!(limited.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    });
    // A guest's deadlines are the ring's.
    let guest = Guest::new().unwrap();
    let start = Instant::now();
    let sleep = guest.spawn(time::sleep(Duration::from_millis(30)));
    while !sleep.is_finished() {
        let mut poll = libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&guest), events: libc::POLLIN, revents: 0 };
        // SAFETY: the one structure lives over the call.
        let ready = unsafe { libc::poll(&raw mut poll, 1, patience().as_millis() as i32) };
        assert!(ready != 0, "the guest's timer does not wake its host");
        guest.turn(100);
    }
    assert!(start.elapsed() >= Duration::from_millis(30));
}

/// Makes a namespace in which the clocks are ten days further on, and runs the timers there.
pub fn enter_namespace() {
    // SAFETY: no memory is passed; it concerns children only.
    if unsafe { libc::unshare(libc::CLONE_NEWTIME) } != 0 {
        return say(format_args!("left out: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: no memory is passed. It is the namespace of this thread.
    let offsets = format!("/proc/{}/timens_offsets", unsafe { libc::gettid() });
    if let Err(error) = std::fs::write(offsets, "monotonic 864000 0\nboottime 864000 0\n") {
        return say(format_args!("left out: {error}"));
    }
    let outside = uptime();
    // What the children see, so that it is known that the namespace is one.
    let inside = forked(Command::new("cat").arg("/proc/uptime")).output().unwrap().stdout;
    let inside: f64 = String::from_utf8(inside).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(inside > outside + 800_000.0, "{inside} {outside}");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]).env(ROLE, "timers");
    assert!(forked(&mut command).status().unwrap().success());
    say("done");
}

/// A child that shares its parent's memory for a moment cannot be in another time.
fn forked(command: &mut Command) -> &mut Command {
    // SAFETY: it does nothing.
    unsafe { command.pre_exec(|| Ok(())) }
}

fn uptime() -> f64 {
    std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn in_a_time_namespace_timers_take_as_long_as_they_say() {
    if !is_root() {
        return left_out("only root may make a time namespace");
    }
    let other = Other::start("namespace");
    match other.line() {
        done if done == "done" => other.end(),
        why => left_out(why),
    }
}

/// The whole machine's clock: only where the machine is a test's own.
#[test]
fn a_clock_that_is_set_moves_no_timer() {
    if std::env::var_os("RINGTOSS_OWN_MACHINE").is_none() {
        return left_out("the machine's clock is not ours (RINGTOSS_OWN_MACHINE)");
    }
    let set = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let time = libc::timespec { tv_sec: since.as_secs() as i64, tv_nsec: since.subsec_nanos().into() };
        // SAFETY: the structure lives over the call.
        let result = unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &raw const time) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    };
    run(async {
        for far in [3600, 86_400 * 400] {
            let far = Duration::from_secs(far);
            let timers: Vec<_> = (1..50)
                .map(|ms| {
                    ringtoss::spawn(async move {
                        let start = Instant::now();
                        time::sleep(Duration::from_millis(ms * 4)).await;
                        let elapsed = start.elapsed();
                        assert!(elapsed >= Duration::from_millis(ms * 4) && elapsed < patience(), "{elapsed:?}");
                    })
                })
                .collect();
            let never = ringtoss::spawn(time::sleep(Duration::from_secs(3500)));
            time::sleep(Duration::from_millis(20)).await;
            set(SystemTime::now() + far);
            time::sleep(Duration::from_millis(20)).await;
            set(SystemTime::now() - far - far);
            time::sleep(Duration::from_millis(20)).await;
            set(SystemTime::now() + far);
            for timer in timers {
                timer.await.unwrap();
            }
            assert!(!never.is_finished());
            never.abort();
        }
    });
    timers();
}
