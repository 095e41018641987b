//! What an optimiser holds of a model: the one owner of all it remembers, wherever the model runs.

use lrc_compiler::form::elementwise::{Arithmetic, Formula, InPlace};
use lrc_compiler::tile::Number;

use super::muon::{Matrices, Orthogonal};
use super::rule::{Rule, Step};
use super::{Method, Moments, Optimizer, ParamGroup, Rates};
use crate::device::backend::Elementwise;
use crate::device::parameters::{Parameters, Piece, Pieces};
use crate::device::store::Tensor;
use crate::ground::error::Failure;

/// Which parameters are updated alike.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// The group of each parameter.
    pub of: Vec<usize>,
    /// How each group is updated.
    groups: Vec<Group>,
}

/// Parameters that are updated alike.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Group {
    lr_scale: f64,
    weight_decay: f64,
    /// Matrices of a rule for matrices.
    matrices: bool,
    /// How the model reads them.
    number: Number,
}

impl Grouping {
    /// Groups parameters by how they are updated and how the model reads them.
    pub fn new(param_groups: &[ParamGroup], numbers: &[Number]) -> Grouping {
        let mut grouping = Grouping { of: vec![], groups: vec![] };
        for (way, number) in param_groups.iter().zip(numbers) {
            let group = Group {
                lr_scale: way.lr_scale,
                weight_decay: way.weight_decay,
                matrices: way.matrix.is_some(),
                number: *number,
            };
            let known = grouping.groups.iter().position(|known| *known == group);
            grouping.of.push(known.unwrap_or(grouping.groups.len()));
            if known.is_none() {
                grouping.groups.push(group);
            }
        }
        grouping
    }
}

/// How numbers are updated.
enum Update {
    /// All alike.
    Alone(Box<dyn Rule>, Elementwise),
    /// Matrix by matrix.
    Matrices(Orthogonal),
}

/// An optimiser of a model.
pub struct State {
    param_groups: Vec<ParamGroup>,
    groups: Vec<Group>,
    /// Per group.
    updates: Vec<usize>,
    kinds: Vec<Update>,
    /// What this process updates: everything, where it is the only one.
    pieces: Vec<Piece>,
    /// What is remembered: first and second, per piece.
    slots: [Vec<Option<Tensor>>; 2],
    /// Of parameters that the model reads in bf16: what is updated, per piece.
    masters: Vec<Option<Tensor>>,
    /// The same of those that are not updated, in the host's memory; none of the others.
    frozen: Vec<Vec<f32>>,
    /// Gradients of the parts of a step so far, where a step has several.
    sums: Option<Vec<Tensor>>,
    first_part: Elementwise,
    next_part: Elementwise,
    last_part: Elementwise,
}

/// What an optimiser holds of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Running means of gradients.
    First,
    /// Of their squares, where the rule has them.
    Second,
    /// Parameters as they are updated, where the model reads others.
    Master,
}

/// `sum ← share g`: the first part of a step
#[derive(Clone)]
struct FirstPart;

impl Formula<1, 1, 1> for FirstPart {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [_]: [A::Number; 1],
        [g]: [A::Number; 1],
        [share]: [A::Number; 1],
    ) -> [A::Number; 1] {
        [a.mul(g, share)]
    }
}

/// `sum ← sum + share g`
#[derive(Clone)]
struct NextPart;

/// `g ← sum + share g`: the last part
#[derive(Clone)]
struct LastPart;

impl Formula<1, 1, 1> for LastPart {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [g]: [A::Number; 1],
        [sum]: [A::Number; 1],
        [share]: [A::Number; 1],
    ) -> [A::Number; 1] {
        let part = a.mul(g, share);
        [a.add(sum, part)]
    }
}

impl Formula<1, 1, 1> for NextPart {
    #[inline(always)]
    fn write<A: Arithmetic>(
        &self,
        a: &mut A,
        [sum]: [A::Number; 1],
        [g]: [A::Number; 1],
        [share]: [A::Number; 1],
    ) -> [A::Number; 1] {
        let part = a.mul(g, share);
        [a.add(sum, part)]
    }
}

impl State {
    /// An optimiser that remembers nothing yet, of a model that begins with these parameters; it updates the pieces only.
    pub fn new(
        optimizer: &Optimizer,
        param_groups: Vec<ParamGroup>,
        grouping: Grouping,
        model: &mut Parameters,
        pieces: Vec<Piece>,
        params: &[Vec<f32>],
    ) -> Result<State, Failure> {
        let backend = &mut *model.backend;
        let (mut updates, mut kinds) = (vec![], Vec::<Update>::new());
        for group in &grouping.groups {
            let same = |kind: &Update| matches!(kind, Update::Matrices(_)) == group.matrices;
            let known = kinds.iter().position(same);
            updates.push(known.unwrap_or(kinds.len()));
            match (known, optimizer.method) {
                (Some(_), _) => {}
                (None, Method::Muon(muon)) if group.matrices => {
                    kinds.push(Update::Matrices(Orthogonal::new(muon.momentum, backend)?));
                }
                (None, method) => {
                    let rule = method.rule();
                    let made = backend.compile(method.name(), rule.update())?;
                    kinds.push(Update::Alone(rule, made));
                }
            }
        }
        let mut state = State {
            param_groups,
            groups: grouping.groups,
            updates,
            pieces,
            slots: [vec![], vec![]],
            masters: vec![],
            frozen: vec![],
            sums: None,
            first_part: backend.compile("first_part", InPlace::new(FirstPart))?,
            next_part: backend.compile("next_part", InPlace::new(NextPart))?,
            last_part: backend.compile("last_part", InPlace::new(LastPart))?,
            kinds,
        };
        let mut alloc = |name: &str, what: Held| {
            let wanted = |group: usize| state.has(group, what);
            model.layout.alloc_pieces(backend, name, &state.pieces, wanted)
        };
        let first = alloc("first moments", Held::First)?;
        let second = alloc("second moments", Held::Second)?;
        let masters = alloc("master weights", Held::Master)?;
        (state.slots, state.masters) = ([first, second], masters);
        state.write(model, &state.masters, params)?;
        state.keep_frozen(model, params);
        Ok(state)
    }

    /// Keeps what the model reads in bf16 and nothing updates, so that it is saved as it came.
    fn keep_frozen(&mut self, model: &Parameters, params: &[Vec<f32>]) {
        let layout = &model.layout;
        let rounded = |at: usize| !layout.trained(at) && layout.span_of(at).number != Number::F32;
        let kept = params.iter().enumerate();
        self.frozen =
            kept.map(|(at, own)| if rounded(at) { own.clone() } else { vec![] }).collect();
    }

    /// Writes what tensors of pieces hold, from the numbers of all parameters.
    fn write(
        &self,
        model: &mut Parameters,
        tensors: &[Option<Tensor>],
        data: &[Vec<f32>],
    ) -> Result<(), Failure> {
        let present = self.pieces.iter().zip(tensors).filter_map(|(piece, t)| Some((piece, (*t)?)));
        for (piece, tensor) in present {
            model.backend.write(tensor, &model.layout.cut(*piece, data))?;
        }
        Ok(())
    }

    /// What tensors of pieces hold.
    fn read(&self, model: &Parameters, tensors: &[Option<Tensor>]) -> Result<Pieces, Failure> {
        let present = self.pieces.iter().zip(tensors).filter_map(|(piece, t)| Some((piece, (*t)?)));
        present.map(|(piece, t)| Ok((*piece, model.backend.read(t)?.into_owned()))).collect()
    }

    /// What this process updates.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Whether pieces of a group, of any process, have this.
    pub fn has(&self, group: usize, what: Held) -> bool {
        match what {
            Held::First => true,
            Held::Second => match &self.kinds[self.updates[group]] {
                Update::Alone(rule, _) => rule.slots() > 1,
                Update::Matrices(_) => false,
            },
            Held::Master => self.groups[group].number != Number::F32,
        }
    }

    /// What this process holds, piece by piece.
    pub fn held(&self, model: &Parameters, what: Held) -> Result<Pieces, Failure> {
        self.read(
            model,
            match what {
                Held::First => &self.slots[0],
                Held::Second => &self.slots[1],
                Held::Master => &self.masters,
            },
        )
    }

    /// How each parameter is updated.
    pub fn param_groups(&self) -> &[ParamGroup] {
        &self.param_groups
    }

    /// Adds the gradient of part `at` of the `count` that this process computes, weighted by its share of the step; after the last
    /// one the model's gradients are those of the step.
    pub fn accumulate(
        &mut self,
        model: &mut Parameters,
        [at, count]: [usize; 2],
        share: f64,
    ) -> Result<(), Failure> {
        if count == 1 && share == 1.0 {
            return Ok(());
        }
        let backend = &mut *model.backend;
        let sums = match &mut self.sums {
            Some(sums) => sums,
            None => self.sums.insert(model.layout.alloc(backend, "sums of gradients")?),
        };
        let last = at + 1 == count;
        if count == 1 {
            // One part of this process, of several in all.
            sums.iter().try_for_each(|sum| backend.clear(*sum))?;
        }
        let program = match at {
            0 if count > 1 => self.first_part,
            _ if last => self.last_part,
            _ => self.next_part,
        };
        for (sum, grad) in sums.iter().zip(&model.grads) {
            let (to, from) = if last { (*grad, *sum) } else { (*sum, *grad) };
            backend.elementwise(program, &[to], &[from], &[share as f32])?;
        }
        Ok(())
    }

    /// Updates all parameters by gradients whose norm is known.
    pub fn step(
        &mut self,
        model: &mut Parameters,
        rates: &Rates,
        norm: f64,
    ) -> Result<(), Failure> {
        let clip =
            if rates.clip > 0.0 && norm > rates.clip { rates.clip / norm } else { 1.0 } as f32;
        for (at, piece) in self.pieces.iter().enumerate() {
            let group = self.groups[model.layout.spans()[piece.span].group];
            if group.lr_scale == 0.0 {
                continue;
            }
            let lr = rates.lr * group.lr_scale;
            let keep = (1.0 - lr * group.weight_decay) as f32;
            let step = Step { lr, keep, clip, number: rates.step };
            let (values, grads) = (piece.of(&model.values), piece.of(&model.grads));
            let x = self.masters[at].unwrap_or(values);
            let remembered = self.slots.iter().filter_map(|slot| slot[at]);
            let state: Vec<Tensor> = [x].into_iter().chain(remembered).collect();
            let update = self.updates[model.layout.spans()[piece.span].group];
            match &self.kinds[update] {
                Update::Alone(rule, program) => {
                    let numbers = rule.numbers(&step);
                    model.backend.elementwise(*program, &state, &[grads], &numbers)?;
                }
                Update::Matrices(muon) => {
                    let ahead = model.backend.alloc("next mean", piece.words)?;
                    muon.mean(&mut *model.backend, [ahead, state[1], grads], &step)?;
                    self.matrices(model, *piece, [x, ahead], muon, &step)?;
                    model.backend.free(ahead);
                }
            }
            if let Some(master) = self.masters[at] {
                model.backend.convert(values, master)?;
            }
        }
        Ok(())
    }

    /// Updates the matrices of a piece.
    fn matrices(
        &self,
        model: &mut Parameters,
        piece: Piece,
        [x, ahead]: [Tensor; 2],
        muon: &Orthogonal,
        step: &Step,
    ) -> Result<(), Failure> {
        for param in model.layout.members_of(piece).collect::<Vec<_>>() {
            let words = model.layout.part(&model.values, param).words;
            let Some(shape) = self.param_groups[param].matrix else { continue };
            let start = model.layout.start(param) - piece.start;
            let of = |tensor: Tensor| tensor.part(start, words);
            let matrices = Matrices { x: of(x), ahead: of(ahead), shape };
            muon.update(&mut *model.backend, &matrices, step)?;
        }
        Ok(())
    }

    /// The parameters as they are updated, and what is remembered of them; `held` gives the pieces of all processes.
    pub fn numbers(
        &self,
        model: &Parameters,
        held: &dyn Fn(Held) -> Result<Pieces, Failure>,
    ) -> Result<(Vec<Vec<f32>>, Moments), Failure> {
        let all = |what: Held| Ok(model.layout.join(&held(what)?));
        let exact: Vec<Vec<f32>> = all(Held::Master)?;
        let read = model.read()?.into_iter().zip(exact).zip(&self.frozen);
        let params =
            read.map(|((read, exact), frozen)| match (exact.is_empty(), frozen.is_empty()) {
                (false, _) => exact,
                (_, false) => frozen.clone(),
                _ => read,
            });
        let moments = Moments { first: all(Held::First)?, second: all(Held::Second)? };
        Ok((params.collect(), moments))
    }

    /// Takes parameters and what is remembered of them.
    pub fn restore(
        &mut self,
        model: &mut Parameters,
        params: &[Vec<f32>],
        moments: &Moments,
    ) -> Result<(), Failure> {
        model.write(params)?;
        let [first, second] = &self.slots;
        self.write(model, first, &moments.first)?;
        self.write(model, second, &moments.second)?;
        self.write(model, &self.masters, params)?;
        self.keep_frozen(model, params);
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::device::backend::Backend;
    use crate::device::cpu::Cpu;
    use crate::device::parameters::zeros;
    use crate::optim::{AdamW, Lion, Sgd};

    pub const GRADS: [f64; 3] = [0.5, -0.25, 2.0];

    /// Runs gradients through a rule on numbers that start at 1.
    pub fn run(method: Method, decay: f64, lr: f64, grads: &[f64]) -> f64 {
        let mut backend = Cpu::default();
        let rule = method.rule();
        let program = backend.compile("rule", rule.update()).unwrap();
        let numbers = 2100;
        let mut tensor = || zeros(&mut backend, "x", numbers).unwrap();
        let state: Vec<Tensor> = (0..=rule.slots()).map(|_| tensor()).collect();
        let g = tensor();
        backend.write(state[0], &vec![1.0; numbers]).unwrap();
        for (n, grad) in grads.iter().enumerate() {
            backend.write(g, &vec![*grad as f32; numbers]).unwrap();
            let keep = (1.0 - lr * decay) as f32;
            let step = Step { lr, keep, clip: 1.0, number: n as u64 + 1 };
            backend.elementwise(program, &state, &[g], &rule.numbers(&step)).unwrap();
        }
        let x = backend.read(state[0]).unwrap();
        assert!(x.iter().all(|y| *y == x[0]), "all numbers alike");
        f64::from(x[0])
    }

    #[test]
    fn adamw_by_hand() {
        let method = Method::AdamW(AdamW { betas: [0.9, 0.99], eps: 1e-8 });
        let (mut m, mut v, mut decayed, mut plain) = (0.0_f64, 0.0_f64, 1.0_f64, 1.0_f64);
        for (n, g) in GRADS.into_iter().enumerate() {
            m = 0.9 * m + 0.1 * g;
            v = 0.99 * v + 0.01 * g * g;
            let power = n as i32 + 1;
            let move_by = 0.1 * (m / (1.0 - 0.9_f64.powi(power)))
                / ((v / (1.0 - 0.99_f64.powi(power))).sqrt() + 1e-8);
            decayed = decayed * (1.0 - 0.05) - move_by;
            plain -= move_by;
        }
        assert!((run(method, 0.5, 0.1, &GRADS) - decayed).abs() < 1e-6);
        assert!((run(method, 0.0, 0.1, &GRADS) - plain).abs() < 1e-6);
    }

    /// The program rounds as the loop that it replaced: what was trained before goes on as it was.
    #[test]
    fn adamw_rounds_as_it_is_written() {
        let (b1, b2, lr) = (0.9_f32, 0.95_f32, 3e-3_f64);
        let (mut x, mut m, mut v) = (1.0_f32, 0.0_f32, 0.0_f32);
        let grads: Vec<f64> = (0..50).map(|i| f64::from(i * 37 % 23) * 0.013 - 0.11).collect();
        for (n, g) in grads.iter().enumerate() {
            let correct = |beta: f64| 1.0 - beta.powi(n as i32 + 1);
            let rate = (lr / correct(0.9)) as f32;
            let root = (1.0 / correct(0.95)).sqrt() as f32;
            let g = *g as f32 * 1.0;
            m = b1 * m + (1.0 - b1) * g;
            v = b2 * v + (1.0 - b2) * g * g;
            x = x * (1.0 - lr * 0.1) as f32 - rate * m / (v.sqrt() * root + 1e-8);
        }
        let method = Method::AdamW(AdamW { betas: [0.9, 0.95], eps: 1e-8 });
        assert_eq!(run(method, 0.1, lr, &grads), f64::from(x));
    }

    #[test]
    fn lion_and_gradient_descent_by_hand() {
        let (mut m, mut x) = (0.0, 1.0);
        for g in GRADS {
            let update: f64 = 0.9 * m + 0.1 * g;
            x = x * (1.0 - 0.01 * 0.3) - 0.01 * update.signum();
            m = 0.99 * m + 0.01 * g;
        }
        let lion = Method::Lion(Lion { beta1: 0.9, beta2: 0.99 });
        assert!((run(lion, 0.3, 0.01, &GRADS) - x).abs() < 1e-6);
        for nesterov in [false, true] {
            let (mut m, mut x) = (0.0, 1.0);
            for g in GRADS {
                m = 0.8 * m + g;
                x -= 0.01 * if nesterov { g + 0.8 * m } else { m };
            }
            let sgd = Method::Sgd(Sgd { momentum: 0.8, nesterov });
            assert!((run(sgd, 0.0, 0.01, &GRADS) - x).abs() < 1e-6);
        }
    }
}
