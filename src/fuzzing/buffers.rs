//! Buffers, ranges of them and several as one, filled as the kernel would fill them, beside a model that is a vector.

use std::ops::Deref;

use super::Input;
use crate::buf::{AlignedBuf, First, FirstMut, IoBuf, IoBufExt, IoBufMut, IoBufMutExt, IoVecBuf, IoVecBufMut, Lease};

/// What a buffer holds.
struct Model {
    bytes: Vec<u8>,
    capacity: usize,
    /// Whether a read changes its length.
    grows: bool,
}

impl Model {
    /// What a read into a range does.
    fn fill(&mut self, begin: usize, end: usize, data: &[u8]) -> usize {
        let room = self.capacity.min(end) - begin;
        let count = room.min(data.len());
        if self.grows {
            self.bytes.truncate(begin);
            self.bytes.extend_from_slice(&data[..count]);
        } else {
            self.bytes[begin..begin + count].copy_from_slice(&data[..count]);
        }
        count
    }

    fn range(&self, begin: usize, end: usize) -> &[u8] {
        self.bytes.get(begin..self.bytes.len().min(end)).unwrap_or_default()
    }
}

/// A range of so much that a slice of it is allowed: it begins within the bytes.
fn range(input: &mut Input<'_>, len: usize) -> (usize, usize) {
    let begin = usize::from(input.u8()) % (len + 1);
    let size = usize::from(input.u8());
    (begin, if size == 255 { usize::MAX } else { begin + size })
}

fn check<B: IoBuf>(buf: &B, model: &Model, begin: usize, end: usize) {
    assert_eq!(buf.buf_slice(), model.range(begin, end));
}

/// Fills a buffer through no, one, two and three ranges.
fn rounds<B: IoBufMut + Deref<Target = [u8]>>(mut buf: B, mut model: Model, input: &mut Input<'_>) {
    while !input.is_empty() {
        let (depth, count) = (input.u8() % 4, usize::from(input.u8()));
        let data = input.bytes(count);
        check(&buf, &model, 0, usize::MAX);
        assert_eq!((&*buf, buf.buf_capacity()), (&model.bytes[..], model.capacity));
        let address = buf.buf_ptr();
        if depth == 0 {
            assert_eq!(buf.fill_from(data), model.fill(0, usize::MAX, data));
            continue;
        }
        let (a, b) = range(input, buf.buf_len());
        let mut one = if b == usize::MAX { buf.slice(a..) } else { buf.slice(a..b) };
        check(&one, &model, a, b);
        if depth == 1 {
            assert_eq!(one.fill_from(data), model.fill(a, b, data));
            check(&one, &model, a, b);
            buf = one.into_inner();
            continue;
        }
        let (c, d) = range(input, one.buf_len());
        let mut two = one.slice(c..d);
        let (c, d) = (a + c, b.min(a.saturating_add(d)));
        check(&two, &model, c, d);
        if depth == 2 {
            assert_eq!(two.fill_from(data), model.fill(c, d, data));
            check(&two, &model, c, d);
            buf = two.into_inner().into_inner();
            continue;
        }
        let (e, f) = range(input, two.buf_len());
        let mut three = two.slice(e..f);
        let (e, f) = (c + e, d.min(c.saturating_add(f)));
        check(&three, &model, e, f);
        assert_eq!(three.fill_from(data), model.fill(e, f, data));
        check(&three, &model, e, f);
        buf = three.into_inner().into_inner().into_inner();
        assert_eq!(buf.buf_ptr(), address);
    }
    assert_eq!(&*buf, model.bytes);
}

/// One of a fixed capacity beside a vector that is kept below it.
fn aligned(mut input: Input<'_>) {
    let capacity = usize::from(input.u8());
    let mut buf = AlignedBuf::new(capacity, 1 << (input.u8() % 13));
    let mut model = Vec::new();
    for _ in 0..input.u8() % 32 {
        let (how, count) = (input.u8() % 4, usize::from(input.u8()));
        let room = capacity - model.len();
        match how {
            0 => {
                let data = input.bytes(count.min(room));
                buf.extend_from_slice(data);
                model.extend_from_slice(data);
            }
            1 => {
                buf.resize(count.min(capacity), 7);
                model.resize(count.min(capacity), 7);
            }
            2 => {
                buf.truncate(count);
                model.truncate(count);
            }
            _ => {
                buf.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
                model.iter_mut().for_each(|byte: &mut u8| *byte = byte.wrapping_add(1));
            }
        }
        assert_eq!(&buf[..], model);
    }
    rounds(buf, Model { bytes: model, capacity, grows: true }, &mut input);
}

/// Several as one: filled in order, each to its capacity.
fn several(mut input: Input<'_>) {
    let count = usize::from(input.u8() % 9);
    let mut bufs = Vec::new();
    let mut models = Vec::new();
    for _ in 0..count {
        let (len, more) = (usize::from(input.u8() % 32), usize::from(input.u8() % 32));
        let mut bytes = Vec::with_capacity(len + more);
        bytes.resize(len, 9);
        let capacity = bytes.capacity();
        let (begin, end) = range(&mut input, len);
        models.push((Model { bytes: bytes.clone(), capacity, grows: true }, begin, end));
        bufs.push(bytes.slice(begin..end.min(1 << 20)));
    }
    let filled = First::filled(bufs);
    let first = models.iter().map(|(model, begin, end)| model.range(*begin, *end)).find(|bytes| !bytes.is_empty());
    assert_eq!(filled.buf_slice(), first.unwrap_or_default());
    let mut bufs = filled.into_inner();
    let rooms: Vec<usize> = models.iter().map(|(model, begin, end)| model.capacity.min(*end) - begin).collect();
    let room: usize = rooms.iter().sum();
    assert_eq!(bufs.buf_count(), count);
    let data = input.bytes(usize::from(input.0.first().copied().unwrap_or(0)));
    let total = data.len().min(room);
    let mut rest = &data[..total];
    for (at, (model, begin, end)) in models.iter_mut().enumerate() {
        let (start, window) = bufs.window_mut(at);
        assert_eq!(window, rooms[at]);
        let taken = model.fill(*begin, *end, rest);
        // SAFETY: the window is ours to write, and so much of it is there.
        unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), start, taken) };
        rest = &rest[taken..];
    }
    assert!(rest.is_empty());
    // SAFETY: so much has been written, in this order.
    unsafe { bufs.set_filled(total) };
    for (at, (model, begin, end)) in models.iter().enumerate() {
        check(&bufs[at], model, *begin, *end);
        assert_eq!(bufs[at].get_ref(), &model.bytes);
    }
    let mut roomy = FirstMut::new(bufs);
    let expected = rooms.iter().copied().find(|&room| room > 0).unwrap_or(0);
    assert_eq!(roomy.fill_from(data), data.len().min(expected));
    assert_eq!(roomy.into_inner().len(), count);
}

/// Received bytes, split and shortened.
fn leases(mut input: Input<'_>) {
    let bytes = input.bytes(usize::from(input.0.first().copied().unwrap_or(0))).to_vec();
    let mut parts = vec![(Lease::copied(bytes.clone()), bytes)];
    while !input.is_empty() {
        let how = input.u8() % 6;
        let Some(at) = input.pick(parts.len()) else { break };
        let (lease, model) = &mut parts[at];
        let count = usize::from(input.u8()) % (model.len() + 1);
        match how {
            0 => {
                let split = (lease.split_off(count), model.split_off(count));
                parts.push(split);
            }
            1 => {
                let rest = model.split_off(count);
                let split = (lease.split_to(count), std::mem::replace(model, rest));
                parts.push(split);
            }
            2 => {
                lease.advance(count);
                model.drain(..count);
            }
            3 => {
                lease.truncate(count);
                model.truncate(count);
            }
            4 => drop(parts.swap_remove(at)),
            _ => {
                let (lease, model) = parts.swap_remove(at);
                assert_eq!(lease.into_vec(), model);
            }
        }
        for (lease, model) in &parts {
            assert_eq!((&lease[..], lease.buf_slice()), (&model[..], &model[..]));
        }
    }
}

/// See the module.
pub fn buffers(data: &[u8]) {
    let mut input = Input(data);
    match input.u8() % 5 {
        0 => {
            let (len, more) = (usize::from(input.u8()), usize::from(input.u8()));
            let mut buf = Vec::with_capacity(len + more);
            buf.resize(len, 1);
            let model = Model { bytes: buf.clone(), capacity: buf.capacity(), grows: true };
            rounds(buf, model, &mut input);
        }
        1 => {
            let bytes = vec![2; usize::from(input.u8())];
            let capacity = bytes.len();
            rounds(bytes.clone().into_boxed_slice(), Model { bytes, capacity, grows: false }, &mut input);
        }
        2 => aligned(input),
        3 => several(input),
        _ => leases(input),
    }
}
