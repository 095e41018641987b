//! Where the numbers of all parameters lie: each in a tensor of its own, or, on a device, those of one
//! group one after the other, so that a kernel treats them all at once.

use std::borrow::Cow;

use lrc_compiler::tile::Number;

use super::backend::Backend;
use super::store::Tensor;
use crate::ground::error::Failure;

/// A model's parameters and their gradients where they lie, and the place that they lie in.
pub struct Parameters {
    /// The place.
    pub backend: Box<dyn Backend>,
    /// Where what lies.
    pub layout: Layout,
    /// The numbers, a tensor for each span.
    pub values: Vec<Tensor>,
    /// Gradients of the spans that are trained, which come first.
    pub grads: Vec<Tensor>,
}

impl Parameters {
    /// Puts parameters into a place, held as said; those of one group that are held alike lie together.
    pub fn new(
        mut backend: Box<dyn Backend>,
        params: &[Vec<f32>],
        groups: &[usize],
        held: &Storage,
    ) -> Result<Parameters, Failure> {
        let sizes: Vec<usize> = params.iter().map(Vec::len).collect();
        let layout = Layout::new(backend.piece(), &sizes, groups, held);
        let values = layout.spans.iter().map(|span| {
            let tensor = backend.keep_as("parameters", span.words, span.number)?;
            backend.clear(tensor)?;
            Ok(tensor)
        });
        let values = values.collect::<Result<Vec<_>, Failure>>()?;
        let grads = layout.alloc(&mut *backend, "gradients")?;
        layout.write(&mut *backend, &values, params)?;
        Ok(Parameters { backend, layout, values, grads })
    }

    /// A parameter.
    pub fn value(&self, at: usize) -> Tensor {
        self.layout.part(&self.values, at)
    }

    /// Its gradient. What stays as it is has none, and no node gives it one.
    pub fn grad(&self, at: usize) -> Tensor {
        self.layout.part(&self.grads, at)
    }

    /// All numbers, per parameter.
    pub fn read(&self) -> Result<Vec<Vec<f32>>, Failure> {
        self.layout.read(&*self.backend, &self.values)
    }

    /// All gradients, per parameter; zeros for what stays as it is.
    pub fn read_grads(&self) -> Result<Vec<Vec<f32>>, Failure> {
        let read = |at: usize| match self.layout.trained(at) {
            true => self.backend.read(self.grad(at)).map(Cow::into_owned),
            false => Ok(vec![0.0; self.layout.places[at].words]),
        };
        (0..self.layout.places.len()).map(read).collect()
    }

    /// Sets all gradients to 0.
    pub fn clear_grads(&mut self) -> Result<(), Failure> {
        self.grads.iter().try_for_each(|grads| self.backend.clear(*grads))
    }

    /// Takes other numbers.
    pub fn write(&mut self, params: &[Vec<f32>]) -> Result<(), Failure> {
        self.layout.write(&mut *self.backend, &self.values, params)
    }
}

/// How parameters are held.
#[derive(Clone, Debug)]
pub struct Storage {
    /// How the model reads each.
    pub numbers: Vec<Number>,
    /// Which stay as they are: nothing is computed, remembered or exchanged for them. None where this is empty.
    pub frozen: Vec<bool>,
}

impl Storage {
    fn frozen(&self, at: usize) -> bool {
        self.frozen.get(at).copied().unwrap_or(false)
    }
}

/// The places of the parameters' numbers. The same for their gradients and all that is remembered of them.
#[derive(Clone, Debug)]
pub struct Layout {
    places: Vec<Place>,
    /// Those that are trained first.
    spans: Vec<Span>,
    /// How many spans are trained; 0 until all of them are laid out.
    trained: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    span: usize,
    start: usize,
    words: usize,
}

/// Parameters of one group that lie together.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Their group.
    pub group: usize,
    /// Their numbers, filled up with zeros.
    pub words: usize,
    /// How the model reads them.
    pub number: Number,
}

/// Neighbouring numbers of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The span.
    pub span: usize,
    /// Where it begins there.
    pub start: usize,
    /// Its numbers.
    pub words: usize,
}

/// Pieces with their numbers.
pub type Pieces = Vec<(Piece, Vec<f32>)>;

impl Piece {
    /// The same numbers of a tensor for each span.
    pub fn of(&self, spans: &[Tensor]) -> Tensor {
        spans[self.span].part(self.start, self.words)
    }

    /// Where the piece and a parameter meet: where that is in the piece, and in the parameter.
    fn meets(&self, place: &Place) -> Option<[std::ops::Range<usize>; 2]> {
        let (from, to) = (place.start, place.start + place.words);
        let (from, to) = (from.max(self.start), to.min(self.start + self.words));
        let meets = place.span == self.span && from < to;
        meets.then(|| [from - self.start..to - self.start, from - place.start..to - place.start])
    }
}

impl Layout {
    /// Lays out parameters of these sizes and groups, filled up to whole pieces where they lie together.
    pub fn new(piece: Option<usize>, sizes: &[usize], groups: &[usize], held: &Storage) -> Layout {
        let place = Place { span: 0, start: 0, words: 0 };
        let mut layout = Layout { places: vec![place; sizes.len()], spans: vec![], trained: 0 };
        for frozen in [false, true] {
            for at in (0..sizes.len()).filter(|at| held.frozen(*at) == frozen) {
                layout.add(
                    at,
                    sizes[at],
                    Span { group: groups[at], words: 0, number: held.numbers[at] },
                    piece,
                );
            }
            if !frozen {
                layout.trained = layout.spans.len();
            }
        }
        layout
    }

    /// Lays a parameter into a span like another, or into that one where there is none.
    fn add(&mut self, at: usize, words: usize, into: Span, piece: Option<usize>) {
        let alike = |span: &Span| span.group == into.group && span.number == into.number;
        // What stays as it is lies apart from what is trained, of the same group too.
        let known = self.spans[self.trained..].iter().position(alike);
        let known = known.map(|at| self.trained + at);
        let (span, piece) = match (known, piece) {
            (Some(span), Some(piece)) => (span, piece),
            (_, piece) => {
                self.spans.push(into);
                (self.spans.len() - 1, piece.unwrap_or(1))
            }
        };
        self.places[at] = Place { span, start: self.spans[span].words, words };
        self.spans[span].words += words.next_multiple_of(piece);
    }

    /// What lies together, in order.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The spans that are trained.
    pub fn trained_spans(&self) -> &[Span] {
        &self.spans[..self.trained]
    }

    /// What a parameter lies in.
    pub fn span_of(&self, at: usize) -> Span {
        self.spans[self.places[at].span]
    }

    /// Whether a parameter is trained.
    pub fn trained(&self, at: usize) -> bool {
        self.places[at].span < self.trained
    }

    /// All spans that are trained, each as a piece.
    pub fn whole(&self) -> Vec<Piece> {
        let spans = self.trained_spans().iter().enumerate();
        spans.map(|(at, span)| Piece { span: at, start: 0, words: span.words }).collect()
    }

    /// Where a parameter begins in its span.
    pub fn start(&self, at: usize) -> usize {
        self.places[at].start
    }

    /// The parameters all of whose numbers lie in a piece, in order.
    pub fn members_of(&self, piece: Piece) -> impl Iterator<Item = usize> + '_ {
        let all = self.places.iter().enumerate();
        all.filter(move |(_, place)| {
            let met = piece.meets(place);
            met.is_some_and(|[_, own]| own == (0..place.words))
        })
        .map(|(at, _)| at)
    }

    /// The numbers of a piece, from those of all parameters; zeros where it holds no parameter.
    pub fn cut(&self, piece: Piece, data: &[Vec<f32>]) -> Vec<f32> {
        let mut numbers = vec![0.0; piece.words];
        for (place, data) in self.places.iter().zip(data) {
            if let Some([to, from]) = piece.meets(place) {
                numbers[to].copy_from_slice(&data[from]);
            }
        }
        numbers
    }

    /// The numbers of all parameters, from those of pieces; none of parameters that no piece meets.
    pub fn join(&self, pieces: &[(Piece, Vec<f32>)]) -> Vec<Vec<f32>> {
        let mut all: Vec<Vec<f32>> = vec![vec![]; self.places.len()];
        for (piece, numbers) in pieces {
            for (place, data) in self.places.iter().zip(&mut all) {
                if let Some([from, to]) = piece.meets(place) {
                    data.resize(place.words, 0.0);
                    data[to].copy_from_slice(&numbers[from]);
                }
            }
        }
        all
    }

    /// The parameters of a span, in order.
    pub fn members(&self, span: usize) -> impl Iterator<Item = usize> + '_ {
        let all = self.places.iter().enumerate();
        all.filter(move |(_, place)| place.span == span).map(|(at, _)| at)
    }

    /// A tensor of zeros for each span that is trained.
    pub fn alloc(&self, backend: &mut dyn Backend, name: &str) -> Result<Vec<Tensor>, Failure> {
        self.trained_spans().iter().map(|span| kept(backend, name, span.words)).collect()
    }

    /// A tensor of zeros for each piece whose span is of a wanted group.
    pub fn alloc_pieces(
        &self,
        backend: &mut dyn Backend,
        name: &str,
        pieces: &[Piece],
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<Tensor>>, Failure> {
        let each = pieces.iter().map(|piece| {
            let wanted = wanted(self.spans[piece.span].group);
            wanted.then(|| kept(backend, name, piece.words)).transpose()
        });
        each.collect()
    }

    /// The numbers of a parameter.
    pub fn part(&self, spans: &[Tensor], at: usize) -> Tensor {
        let Place { span, start, words } = self.places[at];
        spans[span].part(start, words)
    }

    /// All numbers, per parameter.
    pub fn read(&self, backend: &dyn Backend, spans: &[Tensor]) -> Result<Vec<Vec<f32>>, Failure> {
        let all = 0..self.places.len();
        all.map(|at| backend.read(self.part(spans, at)).map(Cow::into_owned)).collect()
    }

    /// Writes all numbers, per parameter.
    pub fn write(
        &self,
        backend: &mut dyn Backend,
        spans: &[Tensor],
        data: &[Vec<f32>],
    ) -> Result<(), Failure> {
        (0..data.len()).try_for_each(|at| backend.write(self.part(spans, at), &data[at]))
    }
}

/// A tensor of zeros that is kept from step to step.
fn kept(backend: &mut dyn Backend, name: &str, words: usize) -> Result<Tensor, Failure> {
    let tensor = backend.keep_as(name, words, Number::F32)?;
    backend.clear(tensor)?;
    Ok(tensor)
}

/// A tensor of zeros.
pub fn zeros(backend: &mut dyn Backend, name: &str, words: usize) -> Result<Tensor, Failure> {
    let tensor = backend.alloc(name, words)?;
    backend.clear(tensor)?;
    Ok(tensor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_lie_together_in_whole_pieces_on_a_device() {
        let (sizes, groups) = ([5, 9, 3], [0, 1, 0]);
        let held = |numbers: [Number; 3], frozen: [bool; 3]| Storage {
            numbers: numbers.into(),
            frozen: frozen.into(),
        };
        let plain = held([Number::F32; 3], [false; 3]);
        let own = Layout::new(None, &sizes, &groups, &plain);
        let words = |layout: &Layout| layout.spans().iter().map(|s| s.words).collect::<Vec<_>>();
        assert_eq!(words(&own), [5, 9, 3]);
        let together = Layout::new(Some(8), &sizes, &groups, &plain);
        assert_eq!(words(&together), [16, 16]);
        assert_eq!(together.members(0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(together.places[2].start, 8);
        let mixed = held([Number::F32, Number::F32, Number::Bf16], [false; 3]);
        let apart = Layout::new(Some(8), &sizes, &groups, &mixed);
        assert_eq!(words(&apart), [8, 16, 8]);
        let frozen = held([Number::F32; 3], [true, false, true]);
        let trained = Layout::new(Some(8), &sizes, &groups, &frozen);
        assert_eq!(words(&trained), [16, 16], "what is trained comes first");
        assert_eq!(trained.whole().len(), 1);
        assert_eq!([0, 1, 2].map(|at| trained.trained(at)), [false, true, false]);
        // Of one group some are trained and some not.
        let some = held([Number::F32; 3], [true, false, false]);
        let apart = Layout::new(Some(8), &sizes, &groups, &some);
        assert_eq!(words(&apart), [16, 8, 8]);
        assert_eq!([0, 1, 2].map(|at| apart.trained(at)), [false, true, true]);
    }
}
