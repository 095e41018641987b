//! Pointwise nodes: one block of a kernel is counted on the sim device as it goes over one, two and three groups of
//! rows. What a kernel costs follows: each block costs as much as its first group, and as the third for each of the
//! others.

use lrc_compiler::graph::{Graph, Kind, Node};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Dim, Schedule};
use lrc_compiler::tile::{Leaf, Number, Program, size};

use super::super::{OfKernel, compulsory, fit, of_kernels};
use super::{Cost, Sort};
use crate::device::launch::{ROW_BLOCKS, ready};
use crate::device::rows::{On as Given, RowKernel};
use crate::device::sim::count::Counts;
use crate::device::sim::hardware::Hardware;
use crate::device::store::{Counted, Machine, Store, Tensor};
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};
use crate::recurrence::draw::Sizes;

/// What a node runs on.
pub struct On {
    /// Rows: 1 where its output has a single one.
    pub rows: usize,
    /// Inputs and what flows in, outputs, parameters, and those that get gradients: each with the numbers of a row or
    /// of all, how they are held, and whether there is a row for each token.
    inputs: Vec<Held>,
    flows: Vec<Held>,
    outputs: Vec<Held>,
    params: Vec<Held>,
    gives: Vec<Held>,
    /// Rows before the first one that it reads.
    before: usize,
}

/// A tensor of a node.
#[derive(Clone, Copy)]
struct Held {
    width: usize,
    number: Number,
    once: bool,
}

impl On {
    /// A node of a graph on so many tokens.
    pub fn new(graph: &Graph, node: &Node, tokens: usize) -> On {
        let program: Option<&Program> = match &node.kind {
            Kind::RowsGrad(grad) => Some(&grad.program),
            Kind::Rows(program) => Some(program),
            _ => None,
        };
        let value = |id: &lrc_compiler::graph::ValueId| {
            let info = graph.value(*id);
            Held { width: info.width(), number: info.number, once: info.once }
        };
        let values = |ids: &[_]| -> Vec<Held> { ids.iter().map(value).collect() };
        let param = |number: fn(Number) -> Number| {
            move |id: &lrc_compiler::graph::ParamId| {
                let param = &graph.params[id.0];
                Held { width: size(&param.shape), number: number(param.number), once: true }
            }
        };
        let (inputs, flows) = node.inputs_and_flows();
        let shaped = flows.first().or(node.outputs.first());
        let single = shaped.is_some_and(|id| graph.value(*id).once);
        let lag = |leaf: &Leaf| match leaf {
            Leaf::Read(_, at) => at.lag().and_then(|lag| usize::try_from(lag).ok()).unwrap_or(0),
            _ => 0,
        };
        let leaves = program.into_iter().flat_map(Program::leaves);
        On {
            rows: if single { 1 } else { tokens },
            inputs: values(inputs),
            flows: values(flows),
            outputs: values(&node.outputs),
            params: node.params.iter().map(param(|number| number)).collect(),
            gives: node.gives.iter().map(param(|_| Number::F32)).collect(),
            // Where a part of a tensor begins decides how it is read.
            before: leaves.map(|(_, leaf, _)| lag(leaf)).max().unwrap_or(0).next_multiple_of(16),
        }
    }
}

/// What the kernel of a node costs.
pub fn cost(schedule: &Schedule, on: &On, hardware: Hardware, gpu: Gpu) -> Result<Cost, Failure> {
    let (of_kernel, jobs) = counted(schedule, on, (hardware, gpu), ROW_BLOCKS)?;
    let all = of_kernel.counts.all();
    let (sums, sum_bytes) = sums(schedule, jobs);
    Ok(Cost {
        sort: Sort::Pointwise,
        by: of_kernel.name.clone(),
        seconds: of_kernel.seconds
            + sum_bytes / hardware.bandwidth
            + (1 + sums) as f64 * hardware.launch,
        launches: 1 + sums,
        operations: all.operations[1],
        moved: all.moved.iter().sum::<f64>() + sum_bytes,
        must: must(schedule, on.rows),
        kernels: vec![of_kernel],
    })
}

/// What a kernel does as so many blocks at most, and how many they are.
fn counted(
    schedule: &Schedule,
    on: &On,
    (hardware, gpu): (Hardware, Gpu),
    most: usize,
) -> Result<(OfKernel, usize), Failure> {
    let kernel = &schedule.kernels[0];
    let jobs = on.rows.div_ceil(kernel.chunk).min(most);
    let rounds = on.rows as f64 / (kernel.chunk * jobs) as f64;
    let machine = Machine::Sim(gpu);
    let [made] = &ready(&machine, vec![schedule.clone()])?[..] else {
        return Err(Failure::World(format!("{} is not one schedule", schedule.name)));
    };
    let made = RowKernel(made.clone());
    // A single row has no second one.
    let groups: &[usize] = if rounds > 1.0 { &[1, 2, 3] } else { &[1] };
    let counted = groups.iter().map(|groups| {
        let rows = on.rows.min(groups * kernel.chunk);
        let mut store = Store::new(&machine);
        store.record(hardware, jobs);
        run(&mut store, &made, on, (rows, 1))?;
        Ok(store.recorded())
    });
    let counted: Vec<Vec<Counted>> = counted.collect::<Result<_, Failure>>()?;
    let of = |groups: usize| counted.get(groups - 1).and_then(|all| all.first());
    let Some(first) = of(1) else {
        return Err(Failure::World(format!("{} started nothing", schedule.name)));
    };
    let mut counts = Counts::default();
    counts.add(&first.counts, jobs as f64);
    let mut longest = first.counts.longest;
    if let (Some(two), Some(three)) = (of(2), of(3)) {
        let more = jobs as f64 * (rounds - 1.0).max(0.0);
        counts.add(&three.counts, more);
        counts.add(&two.counts, -more);
        longest += (rounds.ceil() - 1.0) * (three.counts.longest - two.counts.longest);
    }
    counts.longest = longest;
    let launch = fit::Launches {
        kernel: first.kernel.clone(),
        launch: first.launch,
        blocks: (jobs * kernel.parts) as f64,
        counts,
    };
    Ok((of_kernels(schedule, vec![launch], hardware, gpu)?.remove(0), jobs))
}

/// Kernels that add up what blocks leave of gradients of parameters, and the bytes that they move.
fn sums(schedule: &Schedule, blocks: usize) -> (usize, f64) {
    let partial = schedule.buffers.iter().filter(|buffer| buffer.partial > 0);
    let numbers = |dims: &[Dim]| -> usize {
        let extent = |dim: &Dim| if let Dim::Number(n) = dim { *n } else { 1 };
        dims.iter().map(extent).product()
    };
    let each = partial.map(|buffer| {
        // Read as often as there are blocks; what they are added to is read and written.
        4.0 * (numbers(&buffer.dims[buffer.partial..]) * (blocks + 2)) as f64
    });
    each.fold((0, 0.0), |(count, bytes), one| (count + 1, bytes + one))
}

/// Bytes of what a node reads and writes.
fn must(schedule: &Schedule, rows: usize) -> f64 {
    let sizes = Sizes { batch: 1, length: rows, heads: 1 };
    compulsory(schedule, sizes, false).iter().map(|part| part.held).sum()
}

/// Runs a kernel, as so many blocks at most, on rows in the middle of a sequence.
fn run(
    store: &mut Store,
    kernel: &RowKernel,
    on: &On,
    (rows, blocks): (usize, usize),
) -> Result<(), Failure> {
    let mut random = Stream::new(0, Purpose::Verify, 0);
    let before = if on.rows == 1 { 0 } else { on.before };
    let mut drawn = |store: &mut Store, held: &Held| -> Result<Tensor, Failure> {
        let (skipped, count) =
            if held.once { (0, held.width) } else { (before * held.width, rows * held.width) };
        let data: Vec<f32> = (0..skipped + count).map(|_| random.normal() as f32).collect();
        let whole = store.holding("drawn", &data, held.number)?;
        Ok(whole.part(skipped, count))
    };
    let mut all = |store: &mut Store, held: &[Held]| -> Result<Vec<Tensor>, Failure> {
        held.iter().map(|one| drawn(store, one)).collect()
    };
    let (inputs, flows) = (all(store, &on.inputs)?, all(store, &on.flows)?);
    let (params, grads) = (all(store, &on.params)?, all(store, &on.gives)?);
    let outputs = all(store, &on.outputs)?;
    let positions = store.table((0..rows as u32).map(|row| row + before as u32).collect())?;
    let given = Given { rows, positions, inputs: &inputs, params, d_out: flows.first().copied() };
    kernel.in_blocks(store, blocks, &given, (&outputs, &grads))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::sim::hardware::A100;
    use crate::ground::library;
    use lrc_compiler::elaborate::Setting;
    use lrc_compiler::graph::kernels::plan;
    use lrc_compiler::graph::{Prepared, build};

    /// Few enough that each goes over several groups of rows.
    const BLOCKS: usize = 4;

    /// What is told of many rows, from a block that goes over a few groups of them, is what running them all does.
    #[test]
    fn counts_of_many_rows_follow_from_a_few_groups() {
        let path = "models/gdn.arch";
        let (namespace, _) = library::load(path, &mut lrc_dsl::Sources::default()).unwrap();
        let small = [("width", 32.0), ("layers", 1.0), ("heads", 2.0), ("d", 16.0)];
        let more = [("hidden", 64.0), ("vocab", 64.0)];
        let all = small.into_iter().chain(more);
        let given = all.map(|(name, x)| (name.to_string(), Setting::Number(x))).collect();
        let model = build(&namespace, namespace.get("gdn").unwrap(), &given, &mut vec![]).unwrap();
        let prepared = Prepared::plain(model);
        let gpu = Gpu::named(A100.arch).unwrap();
        let planned = plan(&prepared, gpu);
        let graph = &prepared.model.graph;
        let rows = 1024;
        let mut told_of = 0;
        for (at, found) in &planned.of_node {
            let on = On::new(graph, graph.nodes.node_weights().nth(*at).unwrap(), rows);
            let schedule = &planned.pointwise[*found];
            let (told, _) = counted(schedule, &on, (A100, gpu), BLOCKS).unwrap();
            let machine = Machine::Sim(gpu);
            let made = RowKernel(ready(&machine, vec![schedule.clone()]).unwrap().remove(0));
            let mut store = Store::new(&machine);
            store.record(A100, 1);
            run(&mut store, &made, &on, (on.rows, BLOCKS)).unwrap();
            let ran = store.recorded().remove(0);
            assert_eq!(told.blocks, ran.launch.blocks as f64, "{}", told.name);
            let sum = |counts: &Counts| counts.all().instructions.iter().sum::<f64>();
            let (a, b) = (sum(&told.counts), sum(&ran.counts));
            assert!((a / b - 1.0).abs() < 0.03, "{}: {a} {b}", told.name);
            told_of += 1;
        }
        assert!(told_of > 20);
    }
}
