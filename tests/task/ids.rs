//! Names of tasks.

use std::collections::HashSet;

use ringtoss::task::{self, JoinSet};

#[test]
fn a_task_knows_its_name_and_so_do_its_handles() {
    ringtoss::block_on(async {
        assert!(task::try_id().is_none(), "the future of block_on is no task");
        let handle = ringtoss::spawn(async {
            let before = task::id();
            let inner = ringtoss::spawn(async { task::id() });
            let (inner_id, inner_says) = (inner.id(), inner.await.unwrap());
            assert_eq!(inner_id, inner_says);
            assert_eq!(task::id(), before);
            assert_ne!(inner_id, before);
            before
        });
        let (id, abort) = (handle.id(), handle.abort_handle());
        assert_eq!(handle.await.unwrap(), id);
        assert_eq!(abort.id(), id);
        assert!(task::try_id().is_none());
        let blocking = ringtoss::spawn_blocking(task::id);
        let id = blocking.id();
        assert_eq!(blocking.await.unwrap(), id);
        assert_eq!(format!("{id:?}"), format!("Id({id})"));
        // A loop that runs in between has tasks of its own.
        let nests = ringtoss::spawn_blocking(|| {
            let before = task::id();
            let other = ringtoss::block_on(async { ringtoss::spawn(async { task::id() }).await.unwrap() });
            (before, other, task::id())
        });
        let id = nests.id();
        let (before, other, after) = nests.await.unwrap();
        assert!(before == id && other != id && after == id);
    });
}

#[test]
fn a_name_is_there_while_the_future_is_dropped() {
    struct Says(std::sync::mpsc::Sender<task::Id>);
    impl Drop for Says {
        fn drop(&mut self) {
            self.0.send(task::id()).unwrap();
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let (aborted, left) = ringtoss::block_on(async {
        let says = Says(sender.clone());
        let aborted = ringtoss::spawn(async move {
            let _says = says;
            std::future::pending::<()>().await;
        });
        ringtoss::yield_now().await;
        aborted.abort();
        let id = aborted.id();
        assert_eq!(aborted.await.unwrap_err().id(), id);
        let says = Says(sender);
        let left = ringtoss::spawn(async move {
            let _says = says;
            std::future::pending::<()>().await;
        });
        (id, left.id())
    });
    assert_eq!([receiver.recv().unwrap(), receiver.recv().unwrap()], [aborted, left]);
    assert!(task::try_id().is_none());
}

#[test]
fn errors_carry_the_name() {
    ringtoss::block_on(async {
        let panics = ringtoss::spawn(async {
            if true {
                panic!("on purpose")
            }
        });
        let id = panics.id();
        let error = panics.await.unwrap_err();
        assert!(error.is_panic() && error.id() == id);
        assert_eq!(error.to_string(), format!("task {id} panicked with message \"on purpose\""));
        // One that was refused.
        let refused = {
            let handle = ringtoss::EventLoop::builder();
            let other = std::thread::spawn(move || handle.build().unwrap().handle()).join().unwrap();
            other.spawn(async {})
        };
        let id = refused.id();
        let error = refused.await.unwrap_err();
        assert!(error.is_cancelled() && error.id() == id);
        assert_eq!(error.to_string(), format!("task {id} was cancelled"));
    });
}

#[test]
fn a_set_gives_names() {
    ringtoss::block_on(async {
        let mut set = JoinSet::new();
        let mut ids = HashSet::new();
        for i in 0..20 {
            ids.insert(set.spawn(async move { if i % 2 == 0 { task::id() } else { panic!("on purpose") } }).id());
        }
        assert_eq!(ids.len(), 20);
        while let Some(result) = set.join_next_with_id().await {
            let id = match result {
                Ok((id, says)) => {
                    assert_eq!(id, says);
                    id
                }
                Err(error) => error.id(),
            };
            assert!(ids.remove(&id));
        }
        assert!(ids.is_empty() && set.try_join_next_with_id().is_none());
    });
}
