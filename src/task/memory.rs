//! The memory of tasks that have ended, for those to come.
//!
//! A loop keeps it by size, so that a task which lives and dies on its loop's thread costs the allocator nothing. What is kept
//! is bounded, and what another thread frees goes to the allocator.
//!
//! Tools that look for uses of freed memory see nothing of that which is not freed. Under miri and in fuzz targets nothing is kept, nor with
//! `--cfg fresh_tasks`, which is how the tests are run under sanitizers; and where there are debug assertions, memory that is
//! kept is filled, and looked at when it is taken.

use std::alloc::Layout;
use std::ptr::{self, NonNull};

/// How many bytes a loop keeps.
const KEPT_AT_MOST: usize = 256 << 10;

/// Classes of sizes: small steps up to here, then large ones.
const SMALL: usize = 1024;
const SMALL_STEP: usize = 32;
const LARGE: usize = 4096;
const LARGE_STEP: usize = 256;
const CLASSES: usize = SMALL / SMALL_STEP + (LARGE - SMALL) / LARGE_STEP;

/// What memory of every class is aligned to: what allocators give anyway.
const ALIGN: usize = 16;

/// With what memory that is kept is filled, behind its link.
#[cfg(debug_assertions)]
const FILLING: u8 = 0xd7;

/// The memory of one kind of task.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// What it is allocated with.
    pub layout: Layout,
    /// `None`: it is not kept.
    class: Option<usize>,
}

impl Shape {
    pub(super) const fn of<T>() -> Shape {
        let own = Layout::new::<T>();
        if own.size() > LARGE || own.align() > ALIGN || cfg!(any(miri, fuzzing, fresh_tasks)) {
            return Shape { layout: own, class: None };
        }
        let (size, class) = if own.size() <= SMALL {
            let steps = own.size().div_ceil(SMALL_STEP);
            let steps = if steps == 0 { 1 } else { steps };
            (steps * SMALL_STEP, steps - 1)
        } else {
            let steps = (own.size() - SMALL).div_ceil(LARGE_STEP);
            (SMALL + steps * LARGE_STEP, SMALL / SMALL_STEP + steps - 1)
        };
        match Layout::from_size_align(size, ALIGN) {
            Ok(layout) => Shape { layout, class: Some(class) },
            Err(_) => panic!("a size below a page"),
        }
    }
}

/// What lies in memory that is kept.
struct Free {
    next: *mut Free,
}

/// See the module's text. The loop's thread only.
pub(super) struct Memory {
    free: [*mut Free; CLASSES],
    bytes: usize,
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory { free: [ptr::null_mut(); CLASSES], bytes: 0 }
    }

    /// Memory of this shape, if any is kept.
    #[inline(always)]
    pub(super) fn take(&mut self, shape: Shape) -> Option<NonNull<u8>> {
        let place = NonNull::new(self.free[shape.class?])?;
        // SAFETY: what is in the list was put there by `keep`, which made it a `Free`, and it is ours.
        self.free[shape.class?] = unsafe { place.as_ref() }.next;
        self.bytes -= shape.layout.size();
        let place = place.cast();
        #[cfg(debug_assertions)]
        filling(place, shape).for_each(|byte| {
            // SAFETY: within the memory, which is ours, and filled by `keep`.
            assert_eq!(unsafe { byte.read() }, FILLING, "a task was written to after its end");
        });
        Some(place)
    }

    /// Keeps memory of this shape. False if it is to be freed.
    ///
    /// # Safety
    ///
    /// It was allocated with the shape's layout, and is given away.
    #[inline(always)]
    pub(super) unsafe fn keep(&mut self, place: NonNull<u8>, shape: Shape) -> bool {
        let Some(class) = shape.class else { return false };
        if self.bytes + shape.layout.size() > KEPT_AT_MOST {
            return false;
        }
        #[cfg(debug_assertions)]
        // SAFETY: within the memory, which is ours.
        filling(place, shape).for_each(|byte| unsafe { byte.write(FILLING) });
        let free = place.cast::<Free>();
        // SAFETY: it is ours, large enough for a pointer, and aligned.
        unsafe { free.write(Free { next: self.free[class] }) };
        self.free[class] = free.as_ptr();
        self.bytes += shape.layout.size();
        true
    }

    /// Frees all of it.
    pub(super) fn clear(&mut self) {
        for (class, list) in self.free.iter_mut().enumerate() {
            while let Some(place) = NonNull::new(*list) {
                // SAFETY: as in `take`.
                *list = unsafe { place.as_ref() }.next;
                // SAFETY: it was allocated with its class's layout.
                unsafe { std::alloc::dealloc(place.as_ptr().cast(), layout(class)) };
            }
        }
        self.bytes = 0;
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What memory of a class is allocated with.
fn layout(class: usize) -> Layout {
    let small = SMALL / SMALL_STEP;
    let size = if class < small { (class + 1) * SMALL_STEP } else { SMALL + (class - small + 1) * LARGE_STEP };
    Layout::from_size_align(size, ALIGN).expect("a size below a page")
}

/// The bytes that are filled.
#[cfg(debug_assertions)]
fn filling(place: NonNull<u8>, shape: Shape) -> impl Iterator<Item = NonNull<u8>> {
    // SAFETY: within the memory of that shape.
    (size_of::<Free>()..shape.layout.size()).map(move |offset| unsafe { place.add(offset) })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn shapes() -> Vec<Shape> {
        vec![
            Shape::of::<[u64; 1]>(),
            Shape::of::<[u64; 4]>(),
            Shape::of::<[u8; 33]>(),
            Shape::of::<[u64; 128]>(),
            Shape::of::<[u8; 1025]>(),
            Shape::of::<[u8; 1281]>(),
            Shape::of::<[u64; 512]>(),
        ]
    }

    #[test]
    fn a_shape_has_room_and_its_class_the_same_layout() {
        let sizes = [8, 32, 33, 1024, 1025, 1281, 4096];
        for (shape, size) in shapes().into_iter().zip(sizes) {
            assert!(shape.layout.size() >= size);
            if let Some(class) = shape.class {
                assert_eq!(layout(class), shape.layout);
            }
        }
        assert!(Shape::of::<[u8; 4097]>().class.is_none(), "large ones are the allocator's");
        #[repr(align(64))]
        struct Aligned(#[expect(dead_code)] u8);
        assert!(Shape::of::<Aligned>().class.is_none());
        assert_eq!(Shape::of::<Aligned>().layout, Layout::new::<Aligned>());
    }

    fn allocate(shape: Shape) -> NonNull<u8> {
        // SAFETY: no shape is empty.
        NonNull::new(unsafe { std::alloc::alloc(shape.layout) }).unwrap()
    }

    #[test]
    fn what_is_kept_is_bounded_and_given_out_again() {
        let mut memory = Memory::new();
        for shape in shapes().into_iter().filter(|shape| shape.class.is_some()) {
            assert!(memory.take(shape).is_none());
            let place = allocate(shape);
            // SAFETY: it was allocated like this, and is not used any more.
            assert!(unsafe { memory.keep(place, shape) });
            assert_eq!(memory.take(shape), Some(place));
            assert_eq!(memory.bytes, 0);
            let mut kept = 0;
            loop {
                let place = allocate(shape);
                // SAFETY: as above.
                if !unsafe { memory.keep(place, shape) } {
                    // SAFETY: it was not kept.
                    unsafe { std::alloc::dealloc(place.as_ptr(), shape.layout) };
                    break;
                }
                kept += 1;
            }
            assert_eq!(kept, KEPT_AT_MOST / shape.layout.size());
            for _ in 0..kept {
                let place = memory.take(shape).unwrap();
                // SAFETY: it is ours.
                unsafe { std::alloc::dealloc(place.as_ptr(), shape.layout) };
            }
            assert!(memory.take(shape).is_none());
            // SAFETY: as above.
            assert!(unsafe { memory.keep(allocate(shape), shape) });
            memory.clear();
            assert!(memory.take(shape).is_none());
        }
    }

    #[cfg(all(debug_assertions, not(any(miri, fuzzing, fresh_tasks))))]
    #[test]
    #[should_panic(expected = "written to after its end")]
    fn a_write_to_a_task_that_has_ended_is_noticed() {
        let shape = Shape::of::<[u64; 128]>();
        let mut memory = Memory::new();
        let place = allocate(shape);
        // SAFETY: the memory is only kept, and large enough.
        unsafe {
            assert!(memory.keep(place, shape));
            place.add(40).write(1);
        }
        memory.take(shape);
    }
}
