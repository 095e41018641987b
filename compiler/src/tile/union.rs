//! Classes of numbers that belong together, by union and find.

/// Each number's parent; a class is named by its least number.
#[derive(Clone, Debug)]
pub(crate) struct Union {
    parent: Vec<usize>,
}

impl Union {
    /// The numbers below `count`, each by itself.
    pub(crate) fn new(count: usize) -> Union {
        Union { parent: (0..count).collect() }
    }

    /// The next so many numbers, each by itself; gives the first one.
    pub(crate) fn extend(&mut self, count: usize) -> usize {
        let first = self.parent.len();
        self.parent.extend(first..first + count);
        first
    }

    /// The class of a number.
    pub(crate) fn find(&self, mut at: usize) -> usize {
        while self.parent[at] != at {
            at = self.parent[at];
        }
        at
    }

    /// Puts two classes together.
    pub(crate) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.find(a), self.find(b));
        self.parent[a.max(b)] = a.min(b);
    }
}
