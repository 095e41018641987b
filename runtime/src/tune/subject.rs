//! What is tuned: a recurrence at a place, its candidates, and what each takes.

use lrc_compiler::block::Blocking;
use lrc_compiler::compile::Chosen;
use lrc_compiler::elaborate::Recurrence;
use lrc_compiler::form::{Cotangents, Form, FormKind, Gradients, Operand, Outputs, Problem};
use lrc_compiler::plan::cost::cycles;
use lrc_compiler::plan::space::{Choice, Given};
use lrc_compiler::plan::target::Gpu;
use lrc_compiler::plan::{Pass, Plans, Purpose, choices, schedules};
use lrc_compiler::strategy;

use super::journal::How;
use crate::device::kernels::{Kernels, Unready};
use crate::device::sim::hardware::Hardware;
use crate::device::store::Machine;
use crate::device::tuned::{Place, USUAL, Work, blockings, modelled};
use crate::eval::bench;
use crate::ground::error::Failure;
use crate::ground::timing::{Repeat, times};
use crate::profile;
use crate::recurrence::draw::{Drawn, Sizes};

/// How candidates are timed.
#[derive(Clone, Debug)]
pub enum Judge {
    /// On this processor, by a clock.
    Processor,
    /// On a GPU, by a clock.
    Gpu(Machine),
    /// For a kind of GPU, by the sim device's counts.
    Model(Hardware),
}

impl Judge {
    /// Where its times hold.
    pub fn place(&self) -> Result<Place, Failure> {
        match self {
            Judge::Processor => Ok(Place::processor()),
            Judge::Gpu(machine) => Place::of(Some(machine)),
            Judge::Model(hardware) => Place::of_kernels(modelled(hardware.arch), None),
        }
    }

    /// How its times come about.
    pub fn how(&self) -> How {
        if matches!(self, Judge::Model(_)) { How::Modelled } else { How::Measured }
    }

    /// What is tuned apart.
    pub fn works(&self) -> &'static [Work] {
        match self {
            // One blocking serves both ways.
            Judge::Processor => &[Work::Training],
            _ => &[Work::Forward, Work::Training],
        }
    }

    fn kind(&self) -> Option<Gpu> {
        match self {
            Judge::Processor => None,
            Judge::Gpu(machine) => Some(machine.kind()),
            Judge::Model(hardware) => Gpu::named(hardware.arch),
        }
    }
}

/// Something to try.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its text.
    pub choice: String,
    chosen: Chosen,
}

/// Kernels that are estimated at all: those of which the plan's own count says that they take least time.
const LIKELY: usize = 8;
/// A choice may be so much less exact than the usual one.
const SLACK: f64 = 4.0;
/// Differences that are of f32 alone.
const ROUNDING: f64 = 1e-5;
/// The call on which candidates are held against the truth: odd, and longer than most chunks.
const TRUTH: Sizes = Sizes { batch: 1, length: 149, heads: 2 };

/// A recurrence that is tuned.
pub struct Subject<'r> {
    r: &'r Recurrence,
    sizes: Sizes,
    judge: &'r Judge,
    truth: (Drawn, Results),
    /// Of the usual choice.
    usual_error: Option<f64>,
}

/// What a call gives, in f64.
type Results = Vec<Vec<f64>>;

impl<'r> Subject<'r> {
    /// Works the truth out: token by token, in f64.
    pub fn new(r: &'r Recurrence, sizes: Sizes, judge: &'r Judge) -> Subject<'r> {
        let drawn = Drawn::new(r, TRUTH);
        let truth = truth(r, &drawn);
        Subject { r, sizes, judge, truth: (drawn, truth), usual_error: None }
    }

    /// What may be tried, the usual choice first.
    pub fn candidates(&self, work: Work) -> Result<Vec<Candidate>, Failure> {
        let usual = Candidate { choice: USUAL.into(), chosen: Chosen::default() };
        let others: Vec<Candidate> = match self.judge.kind() {
            None => blockings(self.r, self.sizes.heads)
                .into_iter()
                .map(|blocking| Candidate {
                    choice: blocking.to_string(),
                    chosen: Chosen { blocking, ..Chosen::default() },
                })
                .filter(|candidate| candidate.chosen != usual.chosen)
                .collect(),
            Some(gpu) => self.plans(work, gpu).map_err(|refusal| Failure::World(refusal.why))?,
        };
        Ok(std::iter::once(usual).chain(others).collect())
    }

    /// Plans that fit, the likeliest first.
    fn plans(&self, work: Work, gpu: Gpu) -> Result<Vec<Candidate>, lrc_compiler::normal::Refusal> {
        let strategy = strategy::of(self.r);
        let (pass, purpose) = match work {
            Work::Forward => (Pass::Forward, Purpose::Forward),
            Work::Training => (Pass::Backward, Purpose::Training),
        };
        let mut found: Vec<(usize, Choice, Plans)> = Vec::new();
        for choice in choices(self.r, &strategy, pass)? {
            let given = Given::Whole(choice);
            let plans = match work {
                Work::Forward => Plans { forward: given, ..Plans::default() },
                Work::Training => Plans { backward: given, ..Plans::default() },
            };
            // What does not fit is no choice here.
            let Ok(made) = schedules(self.r, &strategy, purpose, gpu, plans) else { continue };
            found.push((made.iter().map(|schedule| cycles(schedule, gpu)).sum(), choice, plans));
        }
        found.sort_by_key(|(cycles, ..)| *cycles);
        found.truncate(LIKELY);
        let candidate = |(_, choice, plans): (usize, Choice, Plans)| Candidate {
            choice: choice.to_string(),
            chosen: Chosen { plans, ..Chosen::default() },
        };
        Ok(found.into_iter().map(candidate).collect())
    }

    /// Times a candidate. The inner error says why it is refused.
    pub fn time(
        &self,
        candidate: &Candidate,
        work: Work,
        repeat: Repeat,
    ) -> Result<Result<Vec<f64>, String>, Failure> {
        let refused = |why: Unready| match why {
            Unready::Refused(refusal) => Ok(Err(refusal.why)),
            Unready::Failed(failure) => Err(failure),
        };
        match self.judge {
            Judge::Processor => {
                Ok(processor(self.r, self.sizes, candidate.chosen.blocking, repeat))
            }
            Judge::Gpu(machine) => {
                match bench::kernels(self.r, self.sizes, candidate.chosen, repeat, machine) {
                    Ok(times) => Ok(Ok(vec![match work {
                        Work::Forward => times.forward,
                        Work::Training => times.both,
                    }])),
                    Err(why) => refused(why),
                }
            }
            Judge::Model(hardware) => {
                let purpose = match work {
                    Work::Forward => Purpose::Forward,
                    Work::Training => Purpose::Training,
                };
                let chosen = candidate.chosen;
                match profile::of_purpose(self.r, self.sizes, *hardware, purpose, chosen) {
                    Ok((all, _)) => Ok(modelled_time(&all)),
                    Err(why) => refused(why),
                }
            }
        }
    }

    /// How far a candidate is from the truth; the inner error says that this is too far. The usual choice comes first.
    pub fn error(
        &mut self,
        candidate: &Candidate,
        work: Work,
    ) -> Result<Result<f64, String>, Failure> {
        let (drawn, truth) = &self.truth;
        let made = match self.judge {
            Judge::Processor => on_processor(self.r, drawn, candidate.chosen.blocking),
            Judge::Gpu(machine) => by_kernels(self.r, drawn, candidate.chosen, machine),
            Judge::Model(_) => {
                let machine = self.judge.kind().map_or_else(Machine::sim, Machine::Sim);
                by_kernels(self.r, drawn, candidate.chosen, &machine)
            }
        };
        let made = match made {
            Ok(made) => made,
            Err(Unready::Refused(refusal)) => return Ok(Err(refusal.why)),
            Err(Unready::Failed(failure)) => return Err(failure),
        };
        // Forward alone is judged by its outputs.
        let count = if work == Work::Forward { self.r.outs.len() } else { truth.len() };
        let error = gap(&made[..count], &truth[..count]);
        let bar = SLACK * self.usual_error.unwrap_or(error) + ROUNDING;
        self.usual_error.get_or_insert(error);
        Ok(if error <= bar {
            Ok(error)
        } else {
            Err(format!("differs by {error:.1e} from the truth, the usual choice by less"))
        })
    }

    /// Forgets the usual choice's error before another work.
    pub fn begin(&mut self) {
        self.usual_error = None;
    }
}

/// The modelled time of kernels, unless some have more numbers than registers.
fn modelled_time(all: &[profile::OfSchedule]) -> Result<Vec<f64>, String> {
    let kernels = || all.iter().flat_map(|schedule| &schedule.kernels);
    let spills = |kernel: &&profile::OfKernel| kernel.assembled.is_some_and(|a| a.spill_bytes > 0);
    match kernels().find(spills) {
        Some(kernel) => Err(format!("{} spills registers", kernel.name)),
        None => Ok(vec![kernels().map(|kernel| kernel.seconds).sum()]),
    }
}

/// Times of forward and backward together.
fn processor(
    r: &Recurrence,
    sizes: Sizes,
    blocking: Blocking,
    repeat: Repeat,
) -> Result<Vec<f64>, String> {
    let tensors = Drawn::new(r, sizes);
    let problem = tensors.problem(r);
    let cotangents = tensors.cotangents(r);
    let form = Form::new(&problem, FormKind::Auto, blocking).map_err(|refusal| refusal.why)?;
    Ok(times(repeat, || {
        let (outputs, kept) = form.forward(&problem, true);
        form.backward(&problem, &kept, &cotangents).recycle();
        outputs.recycle();
    }))
}

fn on_processor(r: &Recurrence, drawn: &Drawn, blocking: Blocking) -> Result<Results, Unready> {
    let problem = drawn.problem(r);
    let form = Form::new(&problem, FormKind::Auto, blocking).map_err(Unready::Refused)?;
    let (outputs, kept) = form.forward(&problem, true);
    let gradients = form.backward(&problem, &kept, &drawn.cotangents(r));
    Ok(wide(&outputs, &gradients))
}

fn by_kernels(
    r: &Recurrence,
    drawn: &Drawn,
    chosen: Chosen,
    machine: &Machine,
) -> Result<Results, Unready> {
    let problem = drawn.problem(r);
    let training = Kernels::new(r, Purpose::Training, chosen, machine)?;
    let forward = Kernels::new(r, Purpose::Forward, chosen, machine)?;
    let outputs = forward.run(&problem).map_err(Unready::Failed)?;
    let made = training.train(&problem, &drawn.cotangents(r)).map_err(Unready::Failed)?;
    Ok(wide(&outputs, &made.1))
}

/// Outputs, then gradients of inputs and parameters.
fn wide(outputs: &Outputs<f32>, gradients: &Gradients<f32>) -> Results {
    let all = outputs.outs.iter().chain(&gradients.inputs).chain(&gradients.params);
    all.map(|data| data.iter().map(|x| f64::from(*x)).collect()).collect()
}

fn truth(r: &Recurrence, drawn: &Drawn) -> Results {
    let given = drawn.problem(r);
    let widened = |all: &[Operand<f32>]| -> Vec<(Vec<f64>, usize)> {
        all.iter().map(|o| (o.data.iter().map(|x| f64::from(*x)).collect(), o.heads)).collect()
    };
    fn operands(all: &[(Vec<f64>, usize)]) -> Vec<Operand<'_, f64>> {
        all.iter().map(|(data, heads)| Operand { data, heads: *heads }).collect()
    }
    let (inputs, params) = (widened(&given.inputs), widened(&given.params));
    let problem = Problem::<f64> {
        recurrence: r,
        heads: given.heads,
        sum: 1,
        bounds: given.bounds.clone(),
        inputs: operands(&inputs),
        params: operands(&params),
        initial: vec![None; r.states.len()],
    };
    let flows: Vec<Vec<f64>> =
        drawn.d_outs.iter().map(|d| d.iter().map(|x| f64::from(*x)).collect()).collect();
    let cotangents = Cotangents {
        outs: flows.iter().map(|d| Some(d.as_slice())).collect(),
        finals: vec![None; r.states.len()],
    };
    let form = Form::recurrent(&problem);
    let (outputs, kept) = form.forward(&problem, true);
    let gradients = form.backward(&problem, &kept, &cotangents);
    outputs.outs.into_iter().chain(gradients.inputs).chain(gradients.params).collect()
}

/// The largest difference of any tensor as a part of its largest number.
fn gap(made: &[Vec<f64>], truth: &[Vec<f64>]) -> f64 {
    let one = |(made, truth): (&Vec<f64>, &Vec<f64>)| {
        let most = truth.iter().fold(f64::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let apart = made.iter().zip(truth).map(|(a, b)| (a - b).abs());
        // What is no number is infinitely far.
        apart.fold(0.0, |most: f64, d| if d.is_nan() { f64::INFINITY } else { most.max(d) }) / most
    };
    made.iter().zip(truth).map(one).fold(0.0, f64::max)
}
