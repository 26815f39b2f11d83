//! What has come and was not taken yet: mostly one, which needs no memory of its own.

use std::collections::VecDeque;

/// A queue. Its first stands by itself, and while there is none there are no others.
#[derive(Debug)]
pub(super) struct Few<T> {
    first: Option<T>,
    others: VecDeque<T>,
}

impl<T> Few<T> {
    pub fn new() -> Few<T> {
        Few { first: None, others: VecDeque::new() }
    }

    #[inline]
    pub fn push(&mut self, item: T) {
        match &self.first {
            None => self.first = Some(item),
            Some(_) => self.others.push_back(item),
        }
    }

    #[inline]
    pub fn extend(&mut self, items: impl IntoIterator<Item = T>) {
        items.into_iter().for_each(|item| self.push(item));
    }

    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let item = self.first.take();
        if item.is_some() && !self.others.is_empty() {
            self.first = self.others.pop_front();
        }
        item
    }

    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.len()
    }

    /// Takes all of them, in order.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.first.take().into_iter().chain(self.others.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_their_order() {
        let mut few = Few::new();
        assert_eq!((few.pop(), few.len()), (None, 0));
        let mut next = 0..;
        let mut expected = 0..;
        for count in [1, 2, 5, 1, 3] {
            for _ in 0..count {
                few.push(next.next().unwrap());
            }
            assert_eq!(few.len(), count);
            for left in (0..count).rev() {
                assert_eq!(few.pop(), expected.next());
                assert_eq!(few.len(), left);
            }
            assert_eq!(few.pop(), None);
        }
        few.extend(0..4);
        assert_eq!(few.pop(), Some(0));
        few.push(4);
        assert_eq!(few.drain().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!((few.pop(), few.len()), (None, 0));
    }
}
