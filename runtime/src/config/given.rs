//! Fields of a spec for those who own them in other rooms.

use super::fields::Fields;
use crate::fields::Given;

impl Given for Fields<'_, '_> {
    fn number(&mut self, name: &'static str) -> f64 {
        Fields::number(self, name)
    }

    fn size(&mut self, name: &'static str) -> usize {
        Fields::size(self, name)
    }

    fn size_up_to(&mut self, name: &'static str, default: usize, most: usize) -> usize {
        Fields::size_up_to(self, name, default, most)
    }

    fn word(&mut self, name: &'static str) -> usize {
        self.word_or(name, std::array::from_fn::<usize, 8, _>(|at| at))
    }

    fn has(&mut self, name: &'static str) -> bool {
        self.get(name).is_some()
    }

    fn truth(&mut self, name: &'static str) -> bool {
        Fields::truth(self, name)
    }
}
