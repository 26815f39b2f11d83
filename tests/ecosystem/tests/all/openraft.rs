//! openraft's checks of a runtime, all of them, of the example's.

use std::time::Duration;

use openraft_rt::testing::Suite;
use openraft_rt::{AsyncRuntime, Instant as _};
use ringtoss::time::pause;

// The example is what is tested.
#[allow(dead_code, reason = "its main function")]
#[path = "../../examples/openraft_runtime.rs"]
mod openraft_runtime;

use openraft_runtime::{Instant, RingtossRuntime};

#[test]
fn the_suite() {
    Suite::<RingtossRuntime>::test_all();
}

/// An election time-out of a day takes no time.
#[test]
fn time_is_the_loops() {
    RingtossRuntime::run(async {
        pause();
        let day = Duration::from_secs(86_400);
        let start = Instant::now();
        assert!(RingtossRuntime::timeout(day, std::future::pending::<()>()).await.is_err());
        assert_eq!(start.elapsed(), day);
    });
}

#[test]
fn what_blocks_does_not_stop_the_loop() {
    RingtossRuntime::run(async {
        let (sender, receiver) = std::sync::mpsc::channel();
        let blocked = RingtossRuntime::spawn_blocking(move || receiver.recv().unwrap());
        let other = RingtossRuntime::spawn(async move { sender.send(7).unwrap() });
        assert_eq!(blocked.await.unwrap(), 7);
        other.await.unwrap();
        assert!(RingtossRuntime::spawn_blocking(|| panic!("on purpose")).await.map(|(): ()| ()).is_err());
    });
}
