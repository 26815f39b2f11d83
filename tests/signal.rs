//! Signals. A process of its own, because they are the process's; each test has a signal for itself.
#![allow(unsafe_code, reason = "handlers of other libraries, forks, signals by number")]

#[path = "patience/mod.rs"]
mod patience;

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;

use ringtoss::EventLoop;
use ringtoss::signal::unix::{Signal, SignalKind, signal};

use patience::*;

async fn is_pending(signal: &mut Signal) -> bool {
    poll_fn(|cx| Poll::Ready(signal.poll_recv(cx).is_pending())).await
}

async fn turn() {
    ringtoss::op::nop().await.unwrap();
}

/// A signal that no other test uses.
fn realtime(index: i32) -> SignalKind {
    SignalKind::from_raw(libc::SIGRTMIN() + index)
}

/// Sends this thread a signal. Its handler has run when this returns.
fn raise(kind: SignalKind) {
    // SAFETY: no memory is passed.
    assert_eq!(unsafe { libc::raise(kind.as_raw_value()) }, 0);
}

fn listen(kind: SignalKind) -> Signal {
    signal(kind).unwrap()
}

#[test]
fn kinds_are_the_systems_numbers() {
    for (kind, number) in [
        (SignalKind::alarm(), libc::SIGALRM),
        (SignalKind::child(), libc::SIGCHLD),
        (SignalKind::hangup(), libc::SIGHUP),
        (SignalKind::interrupt(), libc::SIGINT),
        (SignalKind::io(), libc::SIGIO),
        (SignalKind::pipe(), libc::SIGPIPE),
        (SignalKind::quit(), libc::SIGQUIT),
        (SignalKind::terminate(), libc::SIGTERM),
        (SignalKind::user_defined1(), libc::SIGUSR1),
        (SignalKind::user_defined2(), libc::SIGUSR2),
        (SignalKind::window_change(), libc::SIGWINCH),
    ] {
        assert_eq!((kind.as_raw_value(), SignalKind::from(number), libc::c_int::from(kind)), (number, kind, number));
    }
}

#[test]
fn what_cannot_be_listened_for_is_refused() {
    let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];
    for number in [libc::SIGKILL, libc::SIGSTOP, 0, -1, 65, i32::MAX, i32::MIN].into_iter().chain(faults) {
        let error = signal(SignalKind::from_raw(number)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}");
    }
}

#[test]
fn a_signal_ends_the_wait_and_many_before_the_next_wait_count_as_one() {
    run(async {
        let kind = realtime(0);
        let mut signal = listen(kind);
        assert!(is_pending(&mut signal).await);
        raise(kind);
        assert_eq!(signal.recv().await, Some(()));
        assert!(is_pending(&mut signal).await);
        for _ in 0..5 {
            raise(kind);
        }
        assert_eq!(signal.recv().await, Some(()));
        assert!(is_pending(&mut signal).await);
        turn().await;
        assert!(is_pending(&mut signal).await);
        // Before it was ever waited for, and while the poll is on its way to the kernel.
        let mut second = listen(kind);
        raise(kind);
        assert_eq!(second.recv().await, Some(()));
        assert!(is_pending(&mut second).await);
        raise(kind);
        let mut late = listen(kind);
        assert_eq!(second.recv().await, Some(()));
        assert!(is_pending(&mut late).await, "what came before it listened is no news");
    });
}

#[test]
fn ctrl_c_is_awaited() {
    run(async {
        let task = ringtoss::spawn(ringtoss::signal::ctrl_c());
        turn().await;
        raise(SignalKind::interrupt());
        task.await.unwrap().unwrap();
    });
}

#[test]
fn signals_of_another_process_arrive() {
    run(async {
        let kind = SignalKind::user_defined1();
        let mut signal = listen(kind);
        let pid = std::process::id().to_string();
        let status = ringtoss::spawn_blocking(move || Command::new("kill").args(["-USR1", &pid]).status());
        assert_eq!(signal.recv().await, Some(()));
        assert!(status.await.unwrap().unwrap().success());
    });
}

/// The race that matters: signals that come while others hang up bells, take them down, and are on their way to poll.
#[test]
fn every_listener_on_every_loop_is_told_of_every_signal() {
    const LOOPS: usize = 3;
    const LISTENERS: usize = 20;
    const ROUNDS: usize = 400;
    let kind = realtime(1);
    let told = Arc::new(AtomicUsize::new(0));
    let ready = Arc::new(Barrier::new(LOOPS + 1));
    let threads: Vec<_> = (0..LOOPS)
        .map(|_| {
            let (told, ready) = (told.clone(), ready.clone());
            std::thread::spawn(move || {
                run(async {
                    let tasks: Vec<_> = (0..LISTENERS)
                        .map(|_| {
                            let told = told.clone();
                            let mut signal = listen(kind);
                            ringtoss::spawn(async move {
                                for _ in 0..ROUNDS {
                                    signal.recv().await.unwrap();
                                    told.fetch_add(1, Ordering::SeqCst);
                                }
                            })
                        })
                        .collect();
                    ready.wait();
                    for task in tasks {
                        task.await.unwrap();
                    }
                });
            })
        })
        .collect();
    ready.wait();
    let start = std::time::Instant::now();
    for round in 1..=ROUNDS {
        raise(kind);
        while told.load(Ordering::SeqCst) < round * LOOPS * LISTENERS {
            assert!(start.elapsed() < patience(), "a listener was not told in round {round}");
            std::thread::yield_now();
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

/// The same with signals from several threads at once, where only the last one is sure to be told by itself.
#[test]
fn the_last_of_a_storm_is_told() {
    let kind = realtime(2);
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let mut signal = listen(kind);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let counts = counts.clone();
            std::thread::spawn(move || {
                for _ in 0..2_000 {
                    counts[0].fetch_add(1, Ordering::SeqCst);
                    raise(kind);
                }
            })
        })
        .collect();
    run(async {
        let mut seen = 0;
        while seen < 6_000 {
            signal.recv().await.unwrap();
            seen = counts[0].load(Ordering::SeqCst);
        }
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_dropped_wait_loses_nothing_and_submits_nothing_anew() {
    run(async {
        let kind = realtime(3);
        let mut signal = listen(kind);
        assert!(is_pending(&mut signal).await);
        turn().await;
        let before = ringtoss::metrics().submissions;
        for _ in 0..100 {
            tokio::select! {
                biased;
                _ = signal.recv() => panic!("there was none"),
                () = ringtoss::yield_now() => {}
            }
        }
        assert_eq!(ringtoss::metrics().submissions, before);
        raise(kind);
        assert_eq!(signal.recv().await, Some(()));
    });
}

#[test]
fn a_listener_moves_to_another_loop_and_outlives_its_own() {
    let kind = realtime(4);
    let mut signal = listen(kind);
    let first = EventLoop::new().unwrap();
    first.block_on(async {
        assert!(is_pending(&mut signal).await);
        turn().await;
    });
    // The first loop exists and does not run: the poll that it has tells nobody, so the second must be told through it.
    let thread = std::thread::spawn(move || {
        run(async {
            assert!(is_pending(&mut signal).await);
            raise(kind);
            assert_eq!(signal.recv().await, Some(()));
            assert!(is_pending(&mut signal).await);
        });
        signal
    });
    let mut signal = thread.join().unwrap();
    drop(first);
    run(async {
        assert!(is_pending(&mut signal).await);
        raise(kind);
        assert_eq!(signal.recv().await, Some(()));
    });
}

#[test]
fn a_loop_that_ends_lets_go_of_its_listeners() {
    let kind = realtime(5);
    let event_loop = EventLoop::new().unwrap();
    let mut signal = listen(kind);
    event_loop.spawn(async move {
        signal.recv().await;
        unreachable!("no signal came");
    });
    event_loop.block_on(turn());
    drop(event_loop);
}

// ---- handlers of others --------------------------------------------------------------------------------------------

fn action_of(kind: SignalKind) -> libc::sigaction {
    // SAFETY: the structure is plain numbers and lives over the call.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        assert_eq!(libc::sigaction(kind.as_raw_value(), std::ptr::null(), &raw mut action), 0);
        action
    }
}

/// Installs a handler as another library would.
fn install(kind: SignalKind, handler: usize, flags: i32, masked: Option<SignalKind>) {
    // SAFETY: the structure is plain numbers and lives over the calls; the handlers only use atomics.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        if let Some(masked) = masked {
            libc::sigaddset(&raw mut action.sa_mask, masked.as_raw_value());
        }
        assert_eq!(libc::sigaction(kind.as_raw_value(), &raw const action, std::ptr::null_mut()), 0);
    }
}

static PLAIN: AtomicUsize = AtomicUsize::new(0);
static WITH_INFO: AtomicI32 = AtomicI32::new(0);
static ONCE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn plain(_signal: libc::c_int) {
    PLAIN.fetch_add(1, Ordering::SeqCst);
}

extern "C" fn with_info(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    assert!(!context.is_null());
    // SAFETY: the structure is the kernel's, passed on.
    WITH_INFO.store(unsafe { (*info).si_pid() }, Ordering::SeqCst);
}

extern "C" fn once(_signal: libc::c_int) {
    ONCE.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn the_handler_before_is_called_as_it_asked_to_be() {
    run(async {
        let kinds = [realtime(6), realtime(7), realtime(8)];
        install(kinds[0], plain as *const () as usize, libc::SA_NODEFER, Some(realtime(9)));
        install(kinds[1], with_info as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART, None);
        install(kinds[2], once as *const () as usize, libc::SA_RESETHAND | libc::SA_ONSTACK, None);
        let mut signals = kinds.map(listen);
        for round in 1..=3 {
            for (signal, kind) in signals.iter_mut().zip(kinds) {
                // SAFETY: this thread's errno.
                unsafe { *libc::__errno_location() = 77 };
                raise(kind);
                assert_eq!(io::Error::last_os_error().raw_os_error(), Some(77));
                assert_eq!(signal.recv().await, Some(()));
            }
            assert_eq!(PLAIN.load(Ordering::SeqCst), round);
            assert_eq!(WITH_INFO.swap(0, Ordering::SeqCst), std::process::id() as i32);
        }
        assert_eq!(ONCE.load(Ordering::SeqCst), 1);

        let flags = kinds.map(|kind| {
            let flags = action_of(kind).sa_flags;
            [libc::SA_NODEFER, libc::SA_RESTART, libc::SA_ONSTACK].map(|flag| flags & flag != 0)
        });
        assert_eq!(flags, [[true, false, false], [false, true, false], [false, false, true]]);
        let mask = action_of(kinds[0]).sa_mask;
        // SAFETY: the set is a live variable.
        assert_eq!(unsafe { libc::sigismember(&raw const mask, realtime(9).as_raw_value()) }, 1);
    });
}

static CHILDREN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn child_changed(_signal: libc::c_int) {
    CHILDREN.fetch_add(1, Ordering::SeqCst);
}

#[test]
fn children_are_told_of_and_waited_for_as_ever() {
    if std::env::var_os("CHILDREN_VANISH").is_some() {
        return;
    }
    run(async {
        install(SignalKind::child(), child_changed as *const () as usize, libc::SA_NOCLDSTOP, None);
        let mut children = listen(SignalKind::child());
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id() as libc::pid_t;
        // Other tests run children too, so this counts only what must at least have come.
        let stopped = |options: i32| {
            let mut status = 0;
            // SAFETY: the status lives over the call.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG | options) };
            waited == pid
        };
        // SAFETY: no memory is passed.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGSTOP) }, 0);
        while !stopped(libc::WUNTRACED) {
            children.recv().await.unwrap();
        }
        child.kill().unwrap();
        let status = loop {
            children.recv().await.unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(CHILDREN.load(Ordering::SeqCst) > 0);
        let status = ringtoss::spawn_blocking(|| Command::new("sh").args(["-c", "exit 7"]).status()).await.unwrap();
        assert_eq!(status.unwrap().code(), Some(7));
    });
}

/// Runs in a process of its own: see the next test.
#[test]
#[expect(clippy::zombie_processes, reason = "this is what is tested: there is none")]
fn helper_where_children_vanish() {
    if std::env::var_os("CHILDREN_VANISH").is_none() {
        return;
    }
    install(SignalKind::child(), libc::SIG_IGN, 0, None);
    run(async {
        let mut children = listen(SignalKind::child());
        let child = Command::new("true").spawn().unwrap();
        children.recv().await.unwrap();
        // It is gone without having been waited for, as it was before anybody listened.
        let mut status = 0;
        // SAFETY: the status lives over the call.
        let waited = unsafe { libc::waitpid(child.id() as libc::pid_t, &raw mut status, 0) };
        assert_eq!((waited, io::Error::last_os_error().raw_os_error()), (-1, Some(libc::ECHILD)));
    });
}

#[test]
fn children_that_vanish_go_on_to() {
    let mut helper = Command::new(std::env::current_exe().unwrap());
    helper.args(["--exact", "helper_where_children_vanish"]).env("CHILDREN_VANISH", "1").stdout(Stdio::null());
    assert!(helper.status().unwrap().success());
}

#[test]
fn signals_of_a_forked_child_do_not_reach_its_parent() {
    run(async {
        let kind = realtime(10);
        let mut signal = listen(kind);
        assert!(is_pending(&mut signal).await);
        turn().await;
        for _ in 0..3 {
            // SAFETY: the child calls only what may be called in the child of a process with threads.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: as above.
                unsafe {
                    libc::raise(kind.as_raw_value());
                    libc::_exit(0);
                }
            }
            assert!(pid > 0);
            ringtoss::spawn_blocking(move || {
                let mut status = 0;
                // SAFETY: the status lives over the call.
                assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            })
            .await
            .unwrap();
            // Its bell has rung, which must keep nobody busy.
            let before = ringtoss::metrics().submissions;
            for _ in 0..20 {
                assert!(is_pending(&mut signal).await);
                turn().await;
            }
            // The turns' own, and one poll of a new bell.
            assert!(ringtoss::metrics().submissions - before <= 20 + 2);
        }
        raise(kind);
        assert_eq!(signal.recv().await, Some(()));
    });
}

#[test]
fn a_signal_wakes_a_loop_that_sleeps() {
    let kind = realtime(11);
    let thread = std::thread::spawn(move || {
        // SAFETY: no memory is passed.
        let this = unsafe { libc::pthread_self() } as usize;
        run(async move {
            let mut signal = listen(kind);
            for _ in 0..50 {
                // To this thread, when it sleeps in the kernel: the wait is interrupted by the handler itself.
                ringtoss::spawn_blocking(move || {
                    std::thread::yield_now();
                    // SAFETY: the thread lives until this test ends it.
                    assert_eq!(unsafe { libc::pthread_kill(this as libc::pthread_t, kind.as_raw_value()) }, 0);
                });
                assert_eq!(signal.recv().await, Some(()));
            }
        });
    });
    thread.join().unwrap();
}

const _: fn() = || {
    fn is_send<F: Future + Send>(_: Pin<&F>) {}
    fn check(mut signal: Signal) {
        is_send(Box::pin(ringtoss::signal::ctrl_c()).as_ref());
        is_send(Box::pin(signal.recv()).as_ref());
    }
    let _ = check;
};
