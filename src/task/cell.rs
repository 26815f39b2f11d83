//! The one allocation of a task, and what is done to it without knowing the future's type.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::error::{JoinError, drop_payload};
use super::id::Id;
use super::live::Links;
use super::memory::Shape;
use super::own::{Own, Place};
use super::scheduler::Scheduler;
use super::state::State;
use crate::inbox::sync::UnsafeCell;

/// What a join handle gets.
pub(super) type JoinResult<T> = Result<T, JoinError>;

/// The part of a task whose type is known.
pub(super) struct Header {
    pub(super) state: State,
    vtable: &'static Vtable,
    /// Where the task is queued. `None` for tasks that never are: blocking jobs, and those that
    /// were refused.
    pub(super) scheduler: Option<Arc<Scheduler>>,
    /// Whom to wake on completion, if the handle was polled elsewhere. Whose it is, `JOIN_WAKER` tells.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    /// The link of the remote stack. It belongs to whoever set `SCHEDULED`, until the push; then to
    /// the stack, until the loop takes that apart.
    pub(super) next: UnsafeCell<*mut Header>,
    pub(super) own: Own,
    /// What the join handle notes. The handle's only.
    pub(super) notes: UnsafeCell<Notes>,
    /// The place in the loop's set of live tasks. The loop's thread only.
    pub(super) links: UnsafeCell<Links>,
}

/// See [`Header::notes`].
pub(super) struct Notes {
    /// The output has been given.
    pub(super) taken: bool,
    /// A waker was left on the loop's thread, beside the word, and may be there still.
    pub(super) left_here: bool,
}

/// What depends on the type of the future. The functions take the header of a `Cell<F>` for the
/// `F` they were made for.
struct Vtable {
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    cancel: unsafe fn(NonNull<Header>),
    take_output: unsafe fn(NonNull<Header>, NonNull<()>),
    drop_output: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

/// A task. The header comes first, so that a pointer to it is a pointer to the whole.
#[repr(C)]
pub(super) struct Cell<F: Future> {
    header: Header,
    stage: UnsafeCell<Stage<F>>,
}

/// The future, then its output in the same place. Whose it is, the state word tells.
enum Stage<F: Future> {
    Future(F),
    Output(JoinResult<F::Output>),
    /// Taken by the handle, or dropped.
    Empty,
}

impl<F: Future> Cell<F> {
    const VTABLE: &'static Vtable = &Vtable {
        poll: poll::<F>,
        cancel: cancel::<F>,
        take_output: take_output::<F>,
        drop_output: drop_output::<F>,
        free: free::<F>,
    };

    /// What its memory is like.
    pub(super) const SHAPE: Shape = Shape::of::<Cell<F>>();

    /// Memory for a cell, with its header in it, and the place for its stage. `kept` is memory of its shape, if there is any.
    #[inline(always)]
    fn allocate(
        state: State,
        place_of_task: Place,
        scheduler: Option<Arc<Scheduler>>,
        kept: Option<NonNull<u8>>,
    ) -> (NonNull<Header>, *mut UnsafeCell<Stage<F>>) {
        let place = kept.unwrap_or_else(|| {
            // SAFETY: a cell is not empty.
            let place = unsafe { std::alloc::alloc(Self::SHAPE.layout) };
            NonNull::new(place).unwrap_or_else(|| std::alloc::handle_alloc_error(Self::SHAPE.layout))
        });
        let header = Header {
            state,
            vtable: Self::VTABLE,
            scheduler,
            join_waker: UnsafeCell::new(None),
            next: UnsafeCell::new(ptr::null_mut()),
            own: Own::new(place_of_task),
            notes: UnsafeCell::new(Notes { taken: false, left_here: false }),
            links: UnsafeCell::new(Links::none()),
        };
        // The pointer is that of the whole memory, not made from a reference to the header, so that it may be
        // used for all of the cell.
        let cell: *mut Cell<F> = place.as_ptr().cast();
        // SAFETY: the memory is ours, and has room for a cell, aligned: its layout says so.
        let stage = unsafe {
            (&raw mut (*cell).header).write(header);
            &raw mut (*cell).stage
        };
        (place.cast(), stage)
    }

    /// A task that is to run. `kept` is memory of its shape, if there is any.
    #[inline(always)]
    pub(super) fn born(
        future: F,
        state: State,
        place: Place,
        scheduler: Option<Arc<Scheduler>>,
        kept: Option<NonNull<u8>>,
    ) -> NonNull<Header> {
        let (header, stage) = Self::allocate(state, place, scheduler, kept);
        // SAFETY: the place that `allocate` has given. The future goes there at once, it may be large.
        unsafe { stage.write(UnsafeCell::new(Stage::Future(future))) };
        header
    }

    /// A task that was refused: the future is dropped here and now.
    pub(super) fn refused(future: F) -> NonNull<Header> {
        let dropped = catch_unwind(AssertUnwindSafe(move || drop(future)));
        let (header, stage) = Self::allocate(State::complete(), Place::Over, None, None);
        let error = why_cancelled(dropped, Id::of(header));
        // SAFETY: the place that `allocate` has given.
        unsafe { stage.write(UnsafeCell::new(Stage::Output(Err(error)))) };
        header
    }
}

impl Header {
    /// Polls the future. True if it is done: then it has been dropped and the output stored.
    /// Panics of the future are caught.
    ///
    /// # Safety
    ///
    /// `header` is live, the caller is the runner, nobody polls the future just now, and it has not
    /// been dropped.
    pub(super) unsafe fn poll(header: NonNull<Header>, cx: &mut Context<'_>) -> bool {
        // SAFETY: the header is live, and the vtable is the one of its cell; the rest is passed on.
        unsafe { (header.as_ref().vtable.poll)(header, cx) }
    }

    /// Drops the future and stores the error that says so. Panics of the future are caught.
    ///
    /// # Safety
    ///
    /// As for [`Header::poll`].
    pub(super) unsafe fn cancel(header: NonNull<Header>) {
        // SAFETY: as in `poll`.
        unsafe { (header.as_ref().vtable.cancel)(header) }
    }

    /// Moves the output out. `None` if that was done before.
    ///
    /// # Safety
    ///
    /// `header` is live, the caller is the join handle of a complete task, and `T` is the output of
    /// its future.
    pub(super) unsafe fn take_output<T>(header: NonNull<Header>) -> Option<JoinResult<T>> {
        let mut output: Option<JoinResult<T>> = None;
        // SAFETY: as in `poll`. The place is an empty `Option<JoinResult<T>>`, as it must be.
        unsafe {
            (header.as_ref().vtable.take_output)(header, NonNull::from(&mut output).cast());
        }
        output
    }

    /// Drops the output if it is still there. Panics are caught.
    ///
    /// # Safety
    ///
    /// `header` is live, the task is complete, and the output is the caller's.
    pub(super) unsafe fn drop_output(header: NonNull<Header>) {
        // SAFETY: as in `poll`.
        unsafe { (header.as_ref().vtable.drop_output)(header) }
    }

    /// Frees the cell.
    ///
    /// # Safety
    ///
    /// The caller has given up the last reference.
    pub(super) unsafe fn free(header: NonNull<Header>) {
        // SAFETY: as in `poll`.
        unsafe { (header.as_ref().vtable.free)(header) }
    }
}

/// The error of a task whose future was dropped with this result. As in tokio, a panic in that drop
/// is not hidden.
fn why_cancelled(dropped: Result<(), Box<dyn Any + Send>>, id: Id) -> JoinError {
    match dropped {
        Ok(()) => JoinError::cancelled(id),
        Err(payload) => JoinError::panic(payload, id),
    }
}

/// Drops what is in the stage and leaves it empty, also if the drop panics.
///
/// # Safety
///
/// `stage` is valid, and the caller's alone.
unsafe fn empty<F: Future>(stage: *mut Stage<F>) -> Result<(), Box<dyn Any + Send>> {
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the stage is valid and ours. A pinned future is dropped where it is, not moved.
        unsafe { ptr::drop_in_place(stage) }
    }));
    // SAFETY: valid for writes. What was there has been dropped, as far as its panic let it, and
    // must not be dropped again, so it is overwritten and not assigned to.
    unsafe { stage.write(Stage::Empty) };
    dropped
}

/// # Safety
///
/// See [`Header::poll`].
unsafe fn poll<F: Future>(header: NonNull<Header>, cx: &mut Context<'_>) -> bool {
    // SAFETY: `header` is the start of a live `Cell<F>`; only shared references to it exist.
    let cell = unsafe { header.cast::<Cell<F>>().as_ref() };
    cell.stage.with_mut(|stage| {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: the caller is the runner and the task is not complete, so the stage is ours alone.
            let Stage::Future(future) = (unsafe { &mut *stage }) else {
                unreachable!("polled a task that has no future");
            };
            // SAFETY: the future stays in its heap cell until `empty` drops it in place.
            unsafe { Pin::new_unchecked(future) }.poll(cx)
        }));
        let output = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(payload) => Err(JoinError::panic(payload, Id::of(header))),
        };
        // The output is there already; what the future's drop has to say comes too late.
        // SAFETY: the stage is ours, as above.
        if let Err(payload) = unsafe { empty(stage) } {
            drop_payload(payload);
        }
        // SAFETY: the stage is ours and `Empty`, which needs no drop.
        unsafe { stage.write(Stage::Output(output)) };
        true
    })
}

/// # Safety
///
/// See [`Header::cancel`].
unsafe fn cancel<F: Future>(header: NonNull<Header>) {
    // SAFETY: as in `poll`.
    let cell = unsafe { header.cast::<Cell<F>>().as_ref() };
    cell.stage.with_mut(|stage| {
        // SAFETY: the caller is the runner and the task is not complete, so the stage is ours alone.
        let error = why_cancelled(unsafe { empty(stage) }, Id::of(header));
        // SAFETY: the stage is ours and `Empty`, which needs no drop.
        unsafe { stage.write(Stage::Output(Err(error))) };
    });
}

/// # Safety
///
/// See [`Header::take_output`]; `place` is an empty `Option<JoinResult<F::Output>>`.
unsafe fn take_output<F: Future>(header: NonNull<Header>, place: NonNull<()>) {
    // SAFETY: as in `poll`.
    let cell = unsafe { header.cast::<Cell<F>>().as_ref() };
    cell.stage.with_mut(|stage| {
        // SAFETY: the task is complete and the caller its join handle, so the stage is the
        // caller's alone. The future is gone, so there is nothing pinned to move.
        let stage = unsafe { &mut *stage };
        if let Stage::Output(_) = stage {
            let Stage::Output(output) = std::mem::replace(stage, Stage::Empty) else {
                unreachable!("it was an output a moment ago");
            };
            // SAFETY: the caller vouches for the place.
            unsafe { place.cast().write(Some(output)) };
        }
    });
}

/// # Safety
///
/// See [`Header::drop_output`].
unsafe fn drop_output<F: Future>(header: NonNull<Header>) {
    // SAFETY: as in `poll`.
    let cell = unsafe { header.cast::<Cell<F>>().as_ref() };
    cell.stage.with_mut(|stage| {
        // SAFETY: the caller vouches that the output, and so the stage, is its own.
        if let Stage::Empty = unsafe { &*stage } {
            return;
        }
        // SAFETY: as above.
        if let Err(payload) = unsafe { empty(stage) } {
            drop_payload(payload);
        }
    });
}

/// # Safety
///
/// See [`Header::free`].
unsafe fn free<F: Future>(header: NonNull<Header>) {
    let place = header.cast::<Cell<F>>();
    // SAFETY: no reference is left, so the cell is ours.
    let cell = unsafe { &mut *place.as_ptr() };
    // The thread may be any, so there must be nothing left that has a thread.
    #[cfg(any(debug_assertions, loom))]
    {
        // SAFETY: the cell is ours.
        let empty = |stage: *const Stage<F>| matches!(unsafe { &*stage }, Stage::Empty);
        assert!(cell.stage.with(empty), "freed a task that still has a future or output");
        // SAFETY: the cell is ours.
        let no_waker = |waker: *const Option<Waker>| unsafe { &*waker }.is_none();
        assert!(cell.header.join_waker.with(no_waker), "freed a join waker");
        // SAFETY: the cell is ours.
        let left_here = unsafe { cell.header.own.replace_join_waker(None) };
        assert!(left_here.is_none(), "freed a join waker of the loop's thread");
    }
    let scheduler = cell.header.scheduler.take();
    // Nothing is left that has to be dropped, but what loom keeps about its types.
    #[cfg(all(test, loom, not(shuttle)))]
    // SAFETY: as above; it is not used any more.
    unsafe {
        place.drop_in_place();
    }
    let shape = Cell::<F>::SHAPE;
    // SAFETY: `allocate` has got the memory with this layout, itself or for an earlier cell, and nothing is in it any more.
    let kept = scheduler.is_some_and(|scheduler| unsafe { Scheduler::give_back(scheduler, place.cast(), shape) });
    if !kept {
        // SAFETY: as above.
        unsafe { std::alloc::dealloc(place.as_ptr().cast(), shape.layout) };
    }
}
