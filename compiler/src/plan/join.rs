//! The schedules of a recurrence that is two, of states and of sums over the past: what the first leaves the
//! second reads, and the other way round what flows back.

use super::buffer::name_apart;
use super::target::Gpu;
use super::{
    Binding, Buffer, BufferId, Dim, Kernel, Pass, Plans, Purpose, Role, Schedule, Stmt, schedules,
};
use crate::elaborate::Recurrence;
use crate::normal::Refusal;
use crate::strategy::{Half, Halves};

/// What is launched for a purpose: each schedule has the kernels of both halves.
pub fn joined(
    r: &Recurrence,
    halves: &Halves,
    purpose: Purpose,
    gpu: Gpu,
    plans: Plans,
) -> Result<Vec<Schedule>, Refusal> {
    let of = |half: &Half| schedules(&half.recurrence, &half.strategy, purpose, gpu, plans);
    let names = Names { halves, saved: purpose == Purpose::Training };
    let pairs = of(&halves.states)?.into_iter().zip(of(&halves.sums)?);
    let join = |(states, sums): (Schedule, Schedule)| {
        let pass = states.pass;
        let mut all = Joined::default();
        if pass == Pass::Backward {
            all.take(sums, &|buffer| names.of_sums(buffer));
            all.take(states, &|buffer| names.of_states(buffer));
        } else {
            all.take(states, &|buffer| names.of_states(buffer));
            all.take(sums, &|buffer| names.of_sums(buffer));
        }
        name_apart(&mut all.buffers);
        let name = format!("{}_{}", r.name, pass.name());
        Schedule { name, pass, buffers: all.buffers, kernels: all.kernels }.finish(gpu)
    };
    Ok(pairs.map(join).collect())
}

/// What a half's buffers are for the whole.
struct Names<'a> {
    halves: &'a Halves,
    /// Whether what the states give stays for the way back.
    saved: bool,
}

impl Names<'_> {
    /// How many values of each token the states give.
    fn between(&self) -> usize {
        self.halves.states.recurrence.outs.len()
    }

    fn of_states(&self, buffer: Buffer) -> Buffer {
        let half = &self.halves.states;
        let (binding, role) = match buffer.binding {
            Binding::Input(i) => (Binding::Input(half.inputs[i]), buffer.role),
            Binding::InputGrad(i) => (Binding::InputGrad(half.inputs[i]), buffer.role),
            Binding::Param(i) => (Binding::Param(half.params[i]), buffer.role),
            Binding::ParamGrad(i) => (Binding::ParamGrad(half.params[i]), buffer.role),
            Binding::Out(k) => {
                (Binding::Saved(k), if self.saved { Role::Saved } else { Role::Temporary })
            }
            Binding::OutGrad(k) => (Binding::SavedGrad(k), Role::Temporary),
            other => (other, buffer.role),
        };
        Buffer { binding, role, ..buffer }
    }

    fn of_sums(&self, buffer: Buffer) -> Buffer {
        let half = &self.halves.sums;
        // What the states give comes after the sums' own inputs.
        let given = |i: usize| i.checked_sub(half.inputs.len() - self.between());
        let (binding, role) = match buffer.binding {
            Binding::Input(i) => match given(i) {
                Some(k) => (Binding::Saved(k), buffer.role),
                None => (Binding::Input(half.inputs[i]), buffer.role),
            },
            Binding::InputGrad(i) => match given(i) {
                Some(k) => (Binding::SavedGrad(k), Role::Temporary),
                None => (Binding::InputGrad(half.inputs[i]), buffer.role),
            },
            Binding::Param(i) => (Binding::Param(half.params[i]), buffer.role),
            Binding::ParamGrad(i) => (Binding::ParamGrad(half.params[i]), buffer.role),
            Binding::Saved(k) => (Binding::Saved(self.between() + k), buffer.role),
            other => (other, buffer.role),
        };
        let own = matches!(binding, Binding::Saved(_) | Binding::SavedGrad(_));
        let every = |dim: Dim| if own && dim == Dim::OwnHeads { Dim::Heads } else { dim };
        let dims = buffer.dims.iter().copied().map(every).collect();
        Buffer { binding, role, dims, ..buffer }
    }
}

/// Schedules put together so far.
#[derive(Default)]
struct Joined {
    buffers: Vec<Buffer>,
    kernels: Vec<Kernel>,
}

impl Joined {
    /// Adds a schedule's kernels. A tensor that both know is one buffer; results that both have add up.
    fn take(&mut self, schedule: Schedule, named: &dyn Fn(Buffer) -> Buffer) {
        let before = self.kernels.len();
        let moved = |dim: Dim| match dim {
            Dim::Jobs { kernel } => Dim::Jobs { kernel: before + kernel },
            dim => dim,
        };
        let mut places = Vec::new();
        for buffer in schedule.buffers {
            let mut buffer = named(buffer);
            buffer.dims = buffer.dims.into_iter().map(moved).collect();
            let known = self.buffers.iter().position(|other| other.binding == buffer.binding);
            let place = match known {
                Some(at) if buffer.role != Role::Result => at,
                known => {
                    buffer.adds = known.is_some();
                    self.buffers.push(buffer);
                    self.buffers.len() - 1
                }
            };
            places.push(BufferId(place));
        }
        let place = |id: BufferId| places[id.0];
        for mut kernel in schedule.kernels {
            kernel.body.iter_mut().for_each(|stmt: &mut Stmt| stmt.rename_buffers(&place));
            self.kernels.push(kernel);
        }
    }
}
