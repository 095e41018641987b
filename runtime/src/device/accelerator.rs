//! Kernels as a back end, on a GPU or on the sim device: every tensor lies in the device's memory, and
//! a step sends only tokens and tables to it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use lrc_compiler::form::elementwise::InPlace;
use lrc_compiler::graph::kernels::Planned;
use lrc_compiler::graph::{Kind, Prepared, Recur};
use lrc_compiler::plan::rows::Pointwise as PlannedPointwise;
use lrc_compiler::tile::{Leaf, Number, Stream, size};

use super::answers::Answers;
use super::backend::{
    self, Backend, CrossEntropy, Drop, Elementwise, Flows, Part, Pointwise, Said,
};
use super::collectives::Collectives;
use super::fixed::{Fixed, PIECE};
use super::grouped::Seats;
use super::kernels::{Call, Into as Gradients, Kernels, Left, Unready, Wanted, without_kernels};
use super::launch::ready;
use super::peak::stated;
use super::rows::{On, RowKernel};
use super::store::{Machine, Store, Tensor, Traffic};
use crate::ground::error::Failure;
use crate::ops::dense::{Dense, Sizes};
use crate::ops::experts;
use crate::ops::loss::Blocks;

/// A device that runs kernels.
pub struct Accelerator {
    machine: Machine,
    pub(super) store: Store,
    fixed: Fixed,
    rows: HashMap<usize, Rc<RowKernel>>,
    /// The kernels of recurrences for training and for the forward pass alone, made when they are wanted.
    recurring: HashMap<(String, bool), Rc<Kernels>>,
    /// What each call of a node runs, by which its kernels are known.
    names: HashMap<(usize, Part), String>,
    left: HashMap<(usize, Part), Left>,
    answers: Answers,
    /// Who sits where, as the host has read it since the numbers were routed.
    pub(super) seats: Vec<(Tensor, Seats)>,
    programs: Vec<RowKernel>,
    /// Where several processes train, each with a device.
    collectives: Option<Box<dyn Collectives>>,
}

impl Accelerator {
    /// Compiles a model's kernels.
    pub fn new(
        prepared: &Prepared,
        planned: Planned,
        machine: &Machine,
    ) -> Result<Accelerator, Failure> {
        if !planned.lacking.is_empty() {
            return Err(Failure::Invalid(planned.lacking));
        }
        let ready = ready(machine, planned.pointwise)?.into_iter().map(RowKernel).map(Rc::new);
        let ready: Vec<Rc<RowKernel>> = ready.collect();
        let of_node = planned.of_node.into_iter();
        let mut made = Accelerator {
            machine: machine.clone(),
            store: Store::new(machine),
            fixed: Fixed::new(machine)?,
            rows: of_node.map(|(at, found)| (at, Rc::clone(&ready[found]))).collect(),
            recurring: HashMap::new(),
            names: HashMap::new(),
            left: HashMap::new(),
            answers: Answers::default(),
            seats: vec![],
            programs: vec![],
            collectives: None,
        };
        for (at, node) in prepared.model.graph.nodes.node_weights().enumerate() {
            let Kind::Recur(recur) = &node.kind else { continue };
            made.kernels((at, Part::Own), recur, true)?;
        }
        Ok(made)
    }

    /// The kernels of a recurrence; layers that do the same share them.
    fn kernels(
        &mut self,
        at: (usize, Part),
        recur: &Recur,
        training: bool,
    ) -> Result<Rc<Kernels>, Failure> {
        let name = self.names.entry(at).or_insert_with(|| format!("{:?}", recur.recurrence));
        let key = (name.clone(), training);
        if let Some(known) = self.recurring.get(&key) {
            return Ok(Rc::clone(known));
        }
        let r = &recur.recurrence;
        let wanted = if training { Wanted::Training } else { Wanted::Forward };
        let made =
            Kernels::new(r, wanted, recur.chosen, &self.machine).map_err(|why| match why {
                Unready::Failed(failure) => failure,
                Unready::Refused(refusal) => Failure::Invalid(vec![without_kernels(r, &refusal)]),
            })?;
        let made = Rc::new(made);
        self.recurring.insert(key, Rc::clone(&made));
        Ok(made)
    }

    /// The square of the norm of a tensor.
    fn square(&mut self, to: Tensor, of: Tensor) -> Result<(), Failure> {
        let parts = self.store.take("squares of pieces", of.words / PIECE)?;
        self.fixed.squares(&mut self.store, to, parts, of)?;
        self.store.give(parts);
        Ok(())
    }
}

impl Backend for Accelerator {
    fn alloc_as(&mut self, name: &str, count: usize, number: Number) -> Result<Tensor, Failure> {
        self.store.take_as(name, count, number)
    }

    fn keep_as(&mut self, name: &str, count: usize, number: Number) -> Result<Tensor, Failure> {
        let whole = self.store.keep(name, (count * number.bytes()).div_ceil(4))?;
        Ok(Tensor { words: count.max(1), number, ..whole })
    }

    fn reaches(&self, tensor: Tensor) -> bool {
        // Threads read up to 16 bytes at once.
        tensor.byte().is_multiple_of(16)
    }

    fn free(&mut self, tensor: Tensor) {
        self.store.give(tensor);
    }

    fn forget(&mut self, tensor: Tensor, name: &dyn Fn() -> String) -> Result<(), Failure> {
        match self.machine {
            Machine::Sim(_) => self.store.forget(tensor, &name()),
            Machine::Cuda(_) | Machine::Recorder(_) => Ok(()),
        }
    }

    fn join(&mut self, collectives: Box<dyn Collectives>) {
        self.collectives = Some(collectives);
    }

    fn joined(&mut self) -> Option<(&mut dyn Collectives, &mut Store)> {
        Some((&mut **self.collectives.as_mut()?, &mut self.store))
    }

    fn open(&mut self) {
        self.store.open();
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.store.close()
    }

    fn stated_peak(&self) -> Option<f64> {
        let Machine::Cuda(gpu) = &self.machine else { return None };
        stated(&gpu.name)
    }

    fn traffic(&self) -> Option<Traffic> {
        Some(self.store.traffic())
    }

    fn refusals(&self) -> &[String] {
        self.store.refusals()
    }

    fn clear(&mut self, tensor: Tensor) -> Result<(), Failure> {
        self.store.clear(tensor)
    }

    fn write(&mut self, tensor: Tensor, data: &[f32]) -> Result<(), Failure> {
        self.store.put(tensor, data)
    }

    fn read(&self, tensor: Tensor) -> Result<Cow<'_, [f32]>, Failure> {
        self.store.get(tensor).map(Cow::Owned)
    }

    fn piece(&self) -> Option<usize> {
        Some(PIECE)
    }

    fn most_held(&self) -> usize {
        self.store.reserved()
    }

    fn started(&self) -> Option<[u64; 2]> {
        Some([self.store.launches, self.store.products])
    }

    fn begin(&mut self) {
        self.store.trim_tables();
        self.seats.clear();
        for left in std::mem::take(&mut self.left).into_values() {
            left.release(&mut self.store);
        }
    }

    fn logits(&self) -> Blocks {
        Blocks::LARGE
    }

    fn dense(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        sizes: Sizes,
    ) -> Result<(), Failure> {
        // Products read operands that are held alike.
        if from[0].number == from[1].number {
            return self.store.dense(kind, to, from, sizes);
        }
        let mut narrow = from;
        for operand in narrow.iter_mut().filter(|operand| operand.number == Number::F32) {
            let made = self.store.take_as("operand of a product", operand.words, Number::Bf16)?;
            self.fixed.convert(&mut self.store, made, *operand)?;
            *operand = made;
        }
        self.store.dense(kind, to, narrow, sizes)?;
        let made = narrow.into_iter().zip(from).filter(|(made, from)| made != from);
        made.for_each(|(made, _)| self.store.give(made));
        Ok(())
    }

    fn gather(
        &mut self,
        to: Tensor,
        table: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        let which = self.store.send(which)?;
        self.fixed.gather(&mut self.store, to, table, which, width)
    }

    fn scatter(
        &mut self,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        let which = self.store.send(which)?;
        self.fixed.scatter(&mut self.store, to, from, which, width)
    }

    fn collect(
        &mut self,
        to: Tensor,
        from: Tensor,
        which: &[u32],
        width: usize,
    ) -> Result<(), Failure> {
        self.fixed.collect(&mut self.store, to, from, which, width)
    }

    fn sum(&mut self, to: Tensor, from: &[Tensor]) -> Result<(), Failure> {
        let alike = from.iter().all(|one| one.number == from[0].number);
        match *from {
            [] => self.store.clear(to),
            [one] => self.fixed.convert(&mut self.store, to, one),
            [a, b] if alike => self.fixed.add(&mut self.store, to, [a, b]),
            [a, b, ref rest @ ..] if alike && to.number == Number::F32 && a.number == to.number => {
                self.fixed.add(&mut self.store, to, [a, b])?;
                rest.iter().try_for_each(|c| self.fixed.add(&mut self.store, to, [to, *c]))
            }
            // Sums are rounded once.
            [first, ref rest @ ..] => {
                let sum = self.store.take("sum", to.words)?;
                self.fixed.convert(&mut self.store, sum, first)?;
                for one in rest {
                    self.fixed.accumulate(&mut self.store, sum, *one)?;
                }
                self.fixed.convert(&mut self.store, to, sum)?;
                self.store.give(sum);
                Ok(())
            }
        }
    }

    fn scale_rows(&mut self, rows: Tensor, factors: Tensor, width: usize) -> Result<(), Failure> {
        self.fixed.scale_rows(&mut self.store, rows, factors, width)
    }

    fn pointwise(&mut self, on: &Pointwise) -> Result<(), Failure> {
        let positions = self.store.table(on.positions.to_vec())?;
        let kernel = Rc::clone(&self.rows[&on.at]);
        let (inputs, params) = (on.inputs, on.params.to_vec());
        let given = On { rows: on.rows, positions, inputs, params, d_out: on.d_out };
        kernel.run(&mut self.store, &given, on.outputs, on.grads)
    }

    fn recur(
        &mut self,
        on: &backend::Call,
        outs: &[Tensor],
        keep: bool,
    ) -> Result<Vec<Tensor>, Failure> {
        let kernels = self.kernels((on.at, on.part), on.recur, keep)?;
        let own = self.of_heads(on, outs)?;
        let (finals, left) = kernels.forward(&mut self.store, &Call::of(on), &own)?;
        if on.recur.sum > 1 {
            for ((own, to), slot) in own.into_iter().zip(outs).zip(&on.recur.recurrence.outs) {
                let one = size(&slot.shape);
                let sums = [to.words / one, on.recur.sum, one];
                self.fixed.fold(&mut self.store, *to, own, sums, false)?;
                self.store.give(own);
            }
        }
        if keep {
            self.left.insert((on.at, on.part), left);
        } else {
            left.release(&mut self.store);
        }
        Ok(finals)
    }

    fn recur_grad(&mut self, on: &backend::Call, flows: &Flows) -> Result<(), Failure> {
        let mut d_outs = flows.outs.to_vec();
        if on.recur.sum > 1 {
            // Heads that add up get the same rows.
            for (d, slot) in d_outs.iter_mut().zip(&on.recur.recurrence.outs) {
                let Some(sum) = *d else { continue };
                let one = size(&slot.shape);
                let count = sum.words / one * on.recur.sum;
                let own = self.store.take("gradient of subheads", count * one)?;
                let which: Vec<u32> = (0..count).map(|row| (row / on.recur.sum) as u32).collect();
                let which = self.store.table(which)?;
                self.fixed.gather(&mut self.store, own, sum, which, one)?;
                *d = Some(own);
            }
        }
        let kernels = self.kernels((on.at, on.part), on.recur, true)?;
        let left = self.left.remove(&(on.at, on.part));
        let left = left.ok_or_else(|| Failure::no_forward(&on.recur.recurrence.name))?;
        let (inputs, params) = flows.to.split_at(on.recur.recurrence.inputs.len());
        let initial = flows.initial.to_vec();
        let to = Gradients { inputs: inputs.to_vec(), params: params.to_vec(), initial };
        let d_finals: Vec<Option<Tensor>> = flows.finals.iter().copied().map(Some).collect();
        kernels.backward(&mut self.store, &Call::of(on), &left, [&d_outs, &d_finals], &to)?;
        if flows.again {
            self.left.insert((on.at, on.part), left);
        } else {
            left.release(&mut self.store);
        }
        if on.recur.sum > 1 {
            d_outs.into_iter().flatten().for_each(|own| self.store.give(own));
        }
        Ok(())
    }

    fn cross_entropy(&mut self, on: &CrossEntropy) -> Result<(), Failure> {
        let said = self.answers.rows(&mut self.store, on.targets)?;
        self.fixed.cross_entropy(&mut self.store, on, said)
    }

    fn keep(&mut self, number: Tensor) -> Result<(), Failure> {
        let kept = self.answers.number(&mut self.store)?;
        self.fixed.convert(&mut self.store, kept, number.part(0, 1))
    }

    fn squares(&mut self, of: &[Tensor]) -> Result<(), Failure> {
        let kept = self.answers.squares(&mut self.store, of.len())?;
        for (at, tensor) in of.iter().enumerate() {
            self.square(kept.part(at, 1), *tensor)?;
        }
        Ok(())
    }

    fn said(&mut self) -> Result<Said, Failure> {
        self.answers.read(&mut self.store)
    }

    fn drop_out(&mut self, to: Tensor, from: Tensor, drop: Drop) -> Result<(), Failure> {
        self.fixed.drop_out(&mut self.store, to, from, drop)
    }

    fn route(
        &mut self,
        to: [Tensor; 2],
        weights: Tensor,
        sizes: [usize; 2],
    ) -> Result<(), Failure> {
        self.seats.retain(|(ids, _)| ids.slot != to[0].slot);
        self.fixed.route(&mut self.store, to, weights, sizes)
    }

    fn route_grad(
        &mut self,
        to: Tensor,
        from: [Tensor; 2],
        sizes: [usize; 2],
    ) -> Result<(), Failure> {
        self.fixed.route_grad(&mut self.store, to, from, sizes)
    }

    fn expert(
        &mut self,
        kind: Dense,
        to: Tensor,
        from: [Tensor; 2],
        ids: Tensor,
        sizes: experts::Sizes,
    ) -> Result<(), Failure> {
        self.by_expert(kind, to, from, ids, sizes)
    }

    fn long_conv(
        &mut self,
        y: Tensor,
        from: [Tensor; 2],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure> {
        self.fixed.long_conv(&mut self.store, y, from, bounds, width)
    }

    fn long_conv_grad(
        &mut self,
        to: [Tensor; 2],
        from: [Tensor; 3],
        bounds: &[usize],
        width: usize,
    ) -> Result<(), Failure> {
        self.fixed.long_conv_grad(&mut self.store, to, from, bounds, width)
    }

    fn average(&mut self, to: Tensor, from: Tensor, rows: usize) -> Result<(), Failure> {
        self.fixed.average(&mut self.store, to, from, rows)
    }

    fn average_grad(&mut self, to: Tensor, from: Tensor, rows: usize) -> Result<(), Failure> {
        self.fixed.average_grad(&mut self.store, to, from, rows)
    }

    fn compile(&mut self, name: &str, formula: InPlace) -> Result<Elementwise, Failure> {
        let program = formula.program(&[PIECE]);
        let inputs = program.leaves().filter_map(|(_, leaf, _)| match leaf {
            Leaf::Read(Stream::Input(i), _) => Some(i + 1),
            _ => None,
        });
        let once = vec![false; inputs.max().unwrap_or(0)];
        let node = PlannedPointwise {
            label: name,
            program: &program,
            once: &once,
            output_once: false,
            numbers: &[],
            in_place: true,
        };
        let plan = node.forward(self.machine.kind()).map_err(|why| Failure::World(why.why))?;
        self.programs.extend(ready(&self.machine, vec![plan])?.into_iter().map(RowKernel));
        Ok(Elementwise(self.programs.len() - 1))
    }

    fn elementwise(
        &mut self,
        program: Elementwise,
        state: &[Tensor],
        given: &[Tensor],
        numbers: &[f32],
    ) -> Result<(), Failure> {
        let words = state.first().map_or(0, |tensor| tensor.words);
        let rows = words.div_ceil(PIECE);
        let positions = self.store.table(vec![0; rows])?;
        let bits: Vec<u32> = numbers.iter().map(|x| x.to_bits()).collect();
        let scalars = self.store.send(&bits)?;
        let params = (0..numbers.len()).map(|at| scalars.part(at, 1)).collect();
        let inputs: Vec<Tensor> = state.iter().chain(given).copied().collect();
        let on = On { rows, positions, inputs: &inputs, params, d_out: None };
        let kernel = self.programs[program.0].clone();
        kernel.run(&mut self.store, &on, state, &[])
    }

    fn unit(&mut self, to: Tensor, from: Tensor) -> Result<(), Failure> {
        let whole = self.store.take("matrix", to.words.next_multiple_of(PIECE))?;
        self.store.clear(whole)?;
        let own = whole.part(0, to.words);
        self.sum(own, &[from])?;
        let square = self.store.take("square of a matrix", 1)?;
        self.square(square, whole)?;
        self.fixed.unit(&mut self.store, [to, own], square)?;
        self.store.give(square);
        self.store.give(whole);
        Ok(())
    }

    fn transpose(&mut self, to: Tensor, from: Tensor, shape: [usize; 2]) -> Result<(), Failure> {
        self.fixed.transpose(&mut self.store, to, from, shape)
    }

    fn convert(&mut self, to: Tensor, from: Tensor) -> Result<(), Failure> {
        self.fixed.convert(&mut self.store, to, from)
    }
}
