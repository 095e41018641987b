//! The buffers of a recurrence with states.

use std::collections::HashMap;

use super::super::buffer::{name_apart, of_heads, of_rows};
use super::super::space::Choice;
use super::super::value_split::Whole;
use super::super::{Binding, Buffer, Dim, Number, Pass, Role};
use super::Body;
use crate::elaborate::Recurrence;

/// The arguments of a pass, in order; `axis` says what the parts of a head cut. Nobody gives or asks for
/// states that are not declared.
pub fn buffers(
    r: &Recurrence,
    body: Body,
    pass: Pass,
    choice: Choice,
    axis: &HashMap<Whole, usize>,
) -> Vec<Buffer> {
    let (declared, between) = match body {
        Body::Token { declared } => (declared, Number::F32),
        Body::Scan => (r.states.len(), Number::F32),
        Body::Normal(_) => (r.states.len(), between_chunks(r)),
    };
    let mut all = arguments(r);
    all.extend(states(r, "before", Binding::Initial, Role::Argument).map(Buffer::optional));
    let boundary = |role| {
        r.states.iter().enumerate().map(move |(k, state)| {
            let dims = of_heads(&[Dim::Chunks { every: choice.chunk }], Dim::Heads, &state.shape);
            let name = format!("state_{}_at_chunks", state.name);
            Buffer::new(&name, Binding::Boundary(k), role, dims).held(between)
        })
    };
    if pass == Pass::Backward {
        all.extend(boundary(Role::Argument));
        all.extend(out_grads(r));
        let finals = states(r, "after", Binding::FinalGrad, Role::Argument);
        all.extend(finals.map(gradient).map(Buffer::optional));
        all.extend(gradients(r, choice.parts, axis));
    } else {
        all.extend(outs(r));
        let own = |(k, buffer): (usize, Buffer)| {
            if k < declared { buffer } else { Buffer { role: Role::Temporary, ..buffer } }
        };
        all.extend(states(r, "after", Binding::Final, Role::Result).enumerate().map(own));
        all.extend(boundary(Role::Saved).map(Buffer::optional));
    }
    name_apart(&mut all);
    all
}

/// How states in the normal form are held between chunks for the way back: as what is written into them is. What is
/// carried stays f32; what is saved of it is read by products, which round it anyway, and by sums over whole states.
/// Outputs that are still to be added up say nothing of it: they are f32 beside inputs in bf16.
pub fn between_chunks(r: &Recurrence) -> Number {
    let narrow = r.inputs.iter().any(|slot| slot.number == Number::Bf16);
    if narrow { Number::Bf16 } else { Number::F32 }
}

/// Inputs and parameters.
pub fn arguments(r: &Recurrence) -> Vec<Buffer> {
    let inputs = r.inputs.iter().enumerate().map(|(i, slot)| {
        let (name, dims) = (format!("in_{}", slot.name), of_rows(slot, Dim::OwnHeads));
        Buffer::new(&name, Binding::Input(i), Role::Argument, dims).held(slot.number)
    });
    let params = r.params.iter().enumerate().map(|(i, slot)| {
        let dims = of_heads(&[], Dim::OwnHeads, &slot.shape);
        Buffer::new(&format!("param_{}", slot.name), Binding::Param(i), Role::Argument, dims)
    });
    inputs.chain(params).collect()
}

/// Outputs.
pub fn outs(r: &Recurrence) -> impl Iterator<Item = Buffer> {
    r.outs.iter().enumerate().map(|(k, slot)| {
        let (name, dims) = (format!("out_{}", slot.name), of_rows(slot, Dim::Heads));
        Buffer::new(&name, Binding::Out(k), Role::Result, dims).held(slot.number)
    })
}

/// What flows into outputs.
pub fn out_grads(r: &Recurrence) -> impl Iterator<Item = Buffer> {
    r.outs.iter().enumerate().map(|(k, slot)| {
        let (name, dims) = (format!("d_out_{}", slot.name), of_rows(slot, Dim::Heads));
        let buffer = Buffer::new(&name, Binding::OutGrad(k), Role::Argument, dims);
        buffer.optional().held(slot.number)
    })
}

/// The gradient of an input, as all heads have it.
pub fn input_grad(r: &Recurrence, i: usize) -> Buffer {
    let (name, dims) = (format!("d_in_{}", r.inputs[i].name), of_rows(&r.inputs[i], Dim::Heads));
    Buffer::new(&name, Binding::InputGrad(i), Role::Result, dims).held(r.inputs[i].gradient)
}

/// The gradient of a parameter, as all heads have it.
pub fn param_grad(r: &Recurrence, i: usize) -> Buffer {
    let dims = of_heads(&[], Dim::Heads, &r.params[i].shape);
    let name = format!("d_param_{}", r.params[i].name);
    Buffer::new(&name, Binding::ParamGrad(i), Role::Result, dims)
}

/// All states at an end of each sequence.
fn states<'r>(
    r: &'r Recurrence,
    end: &'r str,
    binding: fn(usize) -> Binding,
    role: Role,
) -> impl Iterator<Item = Buffer> + 'r {
    r.states.iter().enumerate().map(move |(k, state)| {
        let dims = of_heads(&[Dim::Sequences], Dim::Heads, &state.shape);
        Buffer::new(&format!("state_{}_{end}", state.name), binding(k), role, dims)
    })
}

fn gradient(of: Buffer) -> Buffer {
    Buffer { name: format!("d_{}", of.name), ..of }
}

/// The gradients of everything that is given. Where parts of a head share something, each has its
/// own share of the gradient.
fn gradients(r: &Recurrence, parts: usize, axis: &HashMap<Whole, usize>) -> Vec<Buffer> {
    let shared = |whole: Whole| {
        let all = parts > 1 && !axis.contains_key(&whole);
        all.then_some(Dim::Parts(parts))
    };
    let share = |whole: Whole| shared(whole).into_iter().collect::<Vec<Dim>>();
    let inputs = (0..r.inputs.len()).map(|i| input_grad(r, i).summed(share(Whole::Input(i))));
    let params = (0..r.params.len()).map(|i| {
        let partial = shared(Whole::Param(i)).into_iter().chain([Dim::Sequences]).collect();
        param_grad(r, i).summed(partial)
    });
    let initial = states(r, "before", Binding::InitialGrad, Role::Result).map(gradient);
    let initial =
        initial.enumerate().map(|(k, buffer)| buffer.optional().summed(share(Whole::State(k))));
    inputs.chain(params).chain(initial).collect()
}
