//! What is told without counting: dense products by their operations and bytes, and kernels written by hand by their
//! bytes.

use lrc_compiler::graph::{Graph, Kind, Model, Node, ParamId, Recur, ValueId};
use lrc_compiler::tile::{Number, size};

use super::{Cost, Sort, Step, bytes};
use crate::device::sim::hardware::Hardware;

/// Bytes of a number in f32.
const WORD: f64 = 4.0;

/// What it is told of.
pub struct Moves<'m> {
    pub model: &'m Model,
    pub step: Step,
    pub hardware: Hardware,
}

impl Moves<'_> {
    fn rows(&self) -> usize {
        self.step.batch * self.step.length
    }

    /// Kernels that move so many bytes.
    fn moved(&self, by: &str, launches: usize, moved: f64) -> Cost {
        let Hardware { bandwidth, launch, .. } = self.hardware;
        Cost {
            sort: Sort::Moves,
            by: by.to_string(),
            seconds: moved / bandwidth + launches as f64 * launch,
            launches,
            operations: 0.0,
            moved,
            must: moved,
            kernels: vec![],
        }
    }

    /// A dense product of so many operations, that moves so many bytes.
    fn product(&self, by: String, operations: f64, moved: f64) -> Cost {
        let Hardware { bandwidth, launch, peak, products, .. } = self.hardware;
        let seconds = (operations / (peak * products)).max(moved / bandwidth) + launch;
        let sort = Sort::Product;
        Cost { sort, by, seconds, operations, ..self.moved("", 1, moved) }
    }

    fn value(&self, graph: &Graph, id: ValueId) -> f64 {
        let info = graph.value(id);
        bytes(&info.shape, info.number.bytes(), if info.once { 1 } else { self.rows() })
    }

    fn values(&self, graph: &Graph, ids: &[ValueId]) -> f64 {
        ids.iter().map(|id| self.value(graph, *id)).sum()
    }

    fn param(&self, graph: &Graph, id: ParamId) -> f64 {
        let param = &graph.params[id.0];
        bytes(&param.shape, param.number.bytes(), 1)
    }

    /// A dense product with a matrix: `y = W x`, `dx = Wᵀ dy`, or `dW += dy xᵀ`.
    fn dense(&self, graph: &Graph, node: &Node) -> Cost {
        let gives = node.gives.first();
        let weight = gives.or(node.params.first()).copied().unwrap_or(self.model.head);
        let shape = &graph.params[weight.0].shape;
        let rows = if node.inputs.first().is_some_and(|id| graph.value(*id).once) {
            1
        } else {
            self.rows()
        };
        let ways = self.values(graph, &node.inputs) + self.values(graph, &node.outputs);
        // Gradients are added to, in f32.
        let matrix = match gives {
            Some(_) => 2.0 * WORD * size(shape) as f64,
            None => self.param(graph, weight),
        };
        let operations = 2.0 * rows as f64 * size(shape) as f64;
        let by = format!("{rows} rows by {shape:?}{}", of_gradient(&node.kind));
        self.product(by, operations, ways + matrix)
    }

    /// The head and the loss: three products with blocks of logits, and what goes over these.
    fn loss(&self, graph: &Graph, node: &Node) -> Vec<Cost> {
        let Model { head, vocab, width, .. } = self.model;
        let (rows, matrix) = (self.rows() as f64, (vocab * width) as f64);
        let [logits, hidden] = [WORD * rows * *vocab as f64, WORD * rows * *width as f64];
        let weight = self.param(graph, *head);
        let product = |what: &str, matrix_bytes: f64| {
            let by = format!("{} rows by [{vocab}, {width}], {what}", self.rows());
            self.product(by, 2.0 * rows * matrix, logits + hidden + matrix_bytes)
        };
        let of_head =
            node.gives.iter().map(|_| product("gradient of the head", 2.0 * WORD * matrix));
        let products = [product("logits", weight), product("gradient of rows", weight)];
        let beside = [
            // Read twice and written once; rows are taken, scaled and put back.
            self.moved(
                "cross_entropy, gather, scatter, scale_rows",
                5,
                3.0 * logits + 8.0 * hidden,
            ),
        ];
        products.into_iter().chain(of_head).chain(beside).collect()
    }

    /// Products with the matrices of experts.
    fn expert(&self, graph: &Graph, node: &Node) -> Cost {
        let weight = node.gives.first().or(node.params.first()).copied().unwrap_or(self.model.head);
        let shape = &graph.params[weight.0].shape;
        // The numbers of experts, one for each slot, come last.
        let slots = node.inputs.last().map_or(1, |ids| graph.value(*ids).width());
        let operations = 2.0 * (self.rows() * slots) as f64 * size(&shape[1..]) as f64;
        let ways = self.values(graph, &node.inputs) + self.values(graph, &node.outputs);
        let gradient = of_gradient(&node.kind);
        let by = format!("{} rows in {slots} slots by {shape:?}{gradient}", self.rows());
        self.product(by, operations, ways + WORD * size(shape) as f64)
    }

    /// A causal convolution by its sums, on the ordinary units.
    fn long_conv(&self, graph: &Graph, node: &Node) -> Cost {
        let ways = self.values(graph, &node.inputs) + self.values(graph, &node.outputs);
        let width = node.outputs.first().map_or(0, |id| graph.value(*id).width());
        let sums = (self.rows() * width) as f64 * self.step.length as f64 / 2.0;
        let sums = sums * node.outputs.len() as f64;
        let Hardware { clock, multiprocessors, busy, .. } = self.hardware;
        let rate = clock * multiprocessors as f64 * 4.0 * 32.0 / busy[1];
        let cost = self.moved(node.kind.word(), node.outputs.len(), ways);
        Cost { seconds: cost.seconds.max(sums / rate), ..cost }
    }
}

/// Which gradient a product is.
fn of_gradient(kind: &Kind) -> &'static str {
    match kind {
        Kind::DenseGradInput { .. } | Kind::ExpertGradInput => ", gradient of rows",
        Kind::DenseGradWeight { .. } | Kind::ExpertGradWeight => ", gradient of the matrix",
        _ => "",
    }
}

/// A node that no planned kernel does.
pub fn node(moves: &Moves, graph: &Graph, node: &Node) -> Vec<Cost> {
    let ways = moves.values(graph, &node.inputs) + moves.values(graph, &node.outputs);
    let word = node.kind.word();
    match &node.kind {
        Kind::Dense { .. } | Kind::DenseGradInput { .. } | Kind::DenseGradWeight { .. } => {
            vec![moves.dense(graph, node)]
        }
        Kind::Loss => moves.loss(graph, node),
        Kind::Expert | Kind::ExpertGradInput | Kind::ExpertGradWeight => {
            vec![moves.expert(graph, node)]
        }
        Kind::LongConv | Kind::LongConvGrad => vec![moves.long_conv(graph, node)],
        // Rows of a table are read and written, or added to.
        Kind::Embed | Kind::Place => vec![moves.moved(word, 1, 2.0 * ways)],
        Kind::EmbedGrad | Kind::PlaceGrad => vec![moves.moved(word, 1, 3.0 * ways)],
        Kind::Sum => vec![moves.moved(word, node.inputs.len().saturating_sub(1).max(1), ways)],
        _ => vec![moves.moved(word, 1, ways)],
    }
}

/// What goes on around a pass of a recurrence: outputs of subheads are added up, their gradients given to each of them,
/// and gradients of what heads share are added up.
pub fn around(moves: &Moves, recur: &Recur, pass: usize) -> Vec<Cost> {
    let (rows, heads) = (moves.rows(), recur.heads);
    let r = &recur.recurrence;
    let outs: f64 = r.outs.iter().map(|slot| bytes(&slot.shape, 4, rows * heads)).sum();
    let share = 1.0 + 1.0 / recur.sum as f64;
    let mut all = vec![];
    if recur.sum > 1 {
        let by = if pass == 0 { "sum of subheads" } else { "gradients for subheads" };
        all.push(moves.moved(by, r.outs.len(), outs * share));
    }
    if pass == 1 {
        let shared = r.inputs.iter().zip(&recur.input_heads).filter(|(_, own)| **own < heads);
        let (mut count, mut moved) = (0, 0.0);
        for (slot, own) in shared {
            count += 1;
            moved += bytes(&slot.shape, 4, rows * heads) + bytes(&slot.shape, 4, rows * own);
        }
        if count > 0 {
            all.push(moves.moved("gradients of what heads share", count, moved));
        }
    }
    all
}

/// The update: gradients start at zero and are measured, then they, the parameters and what the optimiser remembers are
/// read, and these written.
pub fn update(moves: &Moves, graph: &Graph) -> Vec<Cost> {
    let numbers: usize = graph.params.iter().map(|param| size(&param.shape)).sum();
    let narrow = graph.params.iter().filter(|param| param.number == Number::Bf16);
    let copies: usize = narrow.map(|param| 2 * size(&param.shape)).sum();
    let numbers = numbers as f64 * WORD;
    let of_parts = (moves.step.parts > 1).then(|| {
        // The sum of the parts so far is read and written, and each part read.
        moves.moved("sum over parts", moves.step.parts, 3.0 * numbers * moves.step.parts as f64)
    });
    let remembered = 2.0 * moves.step.remembered;
    let own = [
        moves.moved("zeros and squares of gradients", 2, 2.0 * numbers),
        moves.moved("update", 1, 3.0 * numbers + remembered + copies as f64),
    ];
    own.into_iter().chain(of_parts).collect()
}
