//! The run schedule: how many sequences of which length each step has, and when it ends. It is a
//! function of the spec and of the sizes of the data; whoever walks it to a step knows what follows.

use super::lengths::{Buckets, Chooser, Cut, Lengths, draw};
use super::{Amount, Clock, DecayCurve, Progress, Schedule, whole};
use crate::ground::error::Failure;
use crate::ground::random::{Purpose, Stream};

/// The most steps of a run. A run is walked before it begins, step by step.
pub const MOST_STEPS: u64 = 10_000_000;

/// How large a step is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// So many sequences.
    Sequences(usize),
    /// As many sequences as hold so many tokens.
    Tokens(f64),
}

impl Size {
    /// Sequences of a length.
    pub fn sequences(self, length: usize) -> usize {
        match self {
            Size::Sequences(n) => n,
            Size::Tokens(tokens) => ((tokens / length as f64) as usize).max(1),
        }
    }

    /// Tokens, of sequences of a length where these are counted.
    fn tokens(self, length: usize) -> f64 {
        match self {
            Size::Sequences(n) => (n * length) as f64,
            Size::Tokens(tokens) => tokens,
        }
    }
}

/// The batch over the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Batch {
    /// At the end of the ramp, or all along.
    pub size: Size,
    /// How it grows to that.
    pub ramp: Option<Ramp>,
}

/// A batch that grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ramp {
    /// At the start.
    pub from: Size,
    /// Until when.
    pub over: Amount,
    /// Equal factors on the way.
    pub stages: usize,
    /// The learning rate of a smaller batch.
    pub rule: Rule,
}

/// How the learning rate follows the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// It does not.
    None,
    /// In proportion to its root.
    Root,
    /// In proportion.
    Linear,
}

impl Batch {
    /// The size at a moment, and the factor on the learning rate.
    fn at(&self, progress: &Progress, full: usize) -> (Size, f64) {
        let Some(Ramp { from, over, stages, rule }) = self.ramp else { return (self.size, 1.0) };
        let done = if over.number() > 0.0 { progress.since(over) } else { 1.0 };
        // Stage k of n holds over the k-th n-th of the ramp; the size itself comes after the last.
        let stage = whole(done * stages as f64) / stages as f64;
        if stage >= 1.0 {
            return (self.size, 1.0);
        }
        let (low, high) = (from.tokens(full), self.size.tokens(full));
        let share = (low / high).powf(1.0 - stage);
        let size = match self.size {
            Size::Sequences(n) => Size::Sequences(((n as f64 * share).round() as usize).max(1)),
            Size::Tokens(tokens) => Size::Tokens(tokens * share),
        };
        let lr_scale = match rule {
            Rule::None => 1.0,
            Rule::Root => share.sqrt(),
            Rule::Linear => share,
        };
        (size, lr_scale)
    }
}

/// A part of the run with ways of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// Its part of the run; phases follow one another, the last lasts to the end.
    pub span: Amount,
    /// Factors on the learning rate at its beginning and at its end, and the curve between.
    pub lr_scale: Option<(f64, f64, DecayCurve)>,
    /// Its batch.
    pub batch: Option<Size>,
    /// Lengths and how likely each is.
    pub lengths: Option<Vec<(usize, f64)>>,
}

/// Everything that shapes steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Shaping {
    /// How long the run is.
    pub length: Amount,
    /// The batch.
    pub batch: Batch,
    /// The curriculum of lengths.
    pub lengths: Lengths,
    /// Phases.
    pub phases: Vec<Phase>,
    /// The learning rate.
    pub schedule: Schedule,
    /// The length of sequences where no curriculum says another.
    pub full: usize,
    /// Of everything random.
    pub seed: u64,
}

impl Shaping {
    /// Whether all steps have as many sequences of the same length.
    pub fn even(&self) -> bool {
        let phased = |phase: &Phase| phase.batch.is_some() || phase.lengths.is_some();
        self.lengths == Lengths::Same
            && self.batch.ramp.is_none()
            && !self.phases.iter().any(phased)
    }
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepPlan {
    /// Steps before it.
    pub step: u64,
    /// Tokens of a sequence.
    pub length: usize,
    /// Sequences.
    pub sequences: usize,
    /// The bucket of its sequences, where there are buckets.
    pub bucket: Option<usize>,
    /// Its sequences are the first parts of full ones.
    pub truncate: bool,
    /// The factor on the learning rate.
    pub lr_scale: f64,
    /// Where the run stands before it.
    pub before: Progress,
    /// Where it stands behind it.
    pub after: Progress,
}

impl StepPlan {
    /// Tokens of the step.
    pub fn tokens(&self) -> u64 {
        (self.sequences * self.length) as u64
    }
}

/// Walks the steps of a run.
#[derive(Clone, Debug)]
pub struct RunSchedule {
    shaping: Shaping,
    available: Vec<f64>,
    whole: Clock,
    chooser: Option<Chooser>,
    step: u64,
    tokens: u64,
}

impl RunSchedule {
    /// The run schedule over data with so many tokens in each bucket. Too many steps are a failure.
    pub fn new(shaping: &Shaping, available: &[f64]) -> Result<RunSchedule, Failure> {
        let unknown = Clock { steps: f64::INFINITY, tokens: f64::INFINITY, seconds: f64::INFINITY };
        let mut run_schedule = RunSchedule {
            shaping: shaping.clone(),
            available: available.to_vec(),
            whole: unknown,
            chooser: None,
            step: 0,
            tokens: 0,
        };
        match shaping.length {
            Amount::Time(seconds) => run_schedule.whole.seconds = seconds,
            _ if shaping.even() => {
                run_schedule.whole = run_schedule.evenly()?;
                run_schedule.rewind();
                return Ok(run_schedule);
            }
            Amount::Steps(steps) => run_schedule.whole.steps = steps,
            _ => run_schedule.whole.steps = run_schedule.nominal_steps()? as f64,
        }
        run_schedule.rewind();
        if !matches!(shaping.length, Amount::Time(_)) {
            // Walking costs little, and tells what a run of tokens is in steps, and the reverse.
            let mut ahead = run_schedule.clone();
            while ahead.next(0.0).is_some() {
                bounded(ahead.step)?;
            }
            run_schedule.whole.steps = ahead.step as f64;
            run_schedule.whole.tokens = match shaping.length {
                Amount::Tokens(tokens) => tokens,
                _ => ahead.tokens as f64,
            };
            run_schedule.rewind();
        }
        Ok(run_schedule)
    }

    /// How much there is to do where all steps are alike.
    fn evenly(&self) -> Result<Clock, Failure> {
        let Shaping { length, full, batch, .. } = self.shaping;
        let tokens = (batch.size.sequences(full) * full) as f64;
        let each = if matches!(length, Amount::Tokens(_)) { tokens } else { 1.0 };
        let mut steps = ((length.number() / each).floor() - 1.0).max(0.0);
        bounded(steps as u64)?;
        loop {
            let done = Clock { steps, tokens: steps * tokens, seconds: 0.0 };
            if (Progress { done, whole: self.whole, length }).ended() {
                break;
            }
            steps += 1.0;
        }
        bounded(steps as u64)?;
        let tokens = if let Amount::Tokens(tokens) = length { tokens } else { steps * tokens };
        Ok(Clock { steps, tokens, ..self.whole })
    }

    /// Steps if every step had the size of its batch.
    fn nominal_steps(&self) -> Result<u64, Failure> {
        let (mut steps, mut tokens) = (0_u64, 0.0);
        loop {
            let done = Clock { steps: steps as f64, tokens, seconds: 0.0 };
            let progress = Progress { done, whole: self.whole, length: self.shaping.length };
            if progress.ended() {
                return Ok(steps.max(1));
            }
            let full = self.longest();
            tokens += self.shaping.batch.at(&progress, full).0.tokens(full).max(1.0);
            steps += 1;
            bounded(steps)?;
        }
    }

    fn longest(&self) -> usize {
        match &self.shaping.lengths {
            Lengths::Buckets(Buckets { lengths, .. }) => lengths.last().copied().unwrap_or(1),
            _ => self.shaping.full,
        }
    }

    /// Goes back to the first step.
    pub fn rewind(&mut self) {
        (self.step, self.tokens) = (0, 0);
        self.chooser = match &self.shaping.lengths {
            Lengths::Buckets(buckets) => {
                let steps =
                    if self.whole.steps.is_finite() { self.whole.steps as u64 } else { 1 << 20 };
                Some(Chooser::new(buckets, &self.available, steps))
            }
            _ => None,
        };
    }

    /// How much there is to do.
    pub fn whole(&self) -> Clock {
        self.whole
    }

    /// Steps walked.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Tokens of the steps walked.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Where the run stands after so many seconds.
    pub fn progress(&self, seconds: f64) -> Progress {
        let done = Clock { steps: self.step as f64, tokens: self.tokens as f64, seconds };
        Progress { done, whole: self.whole, length: self.shaping.length }
    }

    /// The next step of a run that has taken so many seconds; nothing at its end.
    pub fn next(&mut self, seconds: f64) -> Option<StepPlan> {
        let before = self.progress(seconds);
        if before.ended() {
            return None;
        }
        let (phase, into) = self.phase(&before);
        let phase = phase.cloned();
        let (mut size, mut lr_scale) = self.shaping.batch.at(&before, self.longest());
        if let Some(own) = phase.as_ref().and_then(|phase| phase.batch) {
            size = own;
        }
        let (length, bucket, truncate) = self.length(&before, phase.as_ref());
        let sequences = match size {
            // Truncated sequences keep their number: their steps have fewer tokens.
            Size::Tokens(_) if truncate => size.sequences(self.shaping.full),
            Size::Sequences(n) if self.splits(length) => (n * self.shaping.full / length).max(1),
            _ => size.sequences(length),
        };
        let mut next = StepPlan {
            step: self.step,
            length,
            sequences,
            bucket,
            truncate,
            lr_scale,
            before,
            after: before,
        };
        self.step += 1;
        self.tokens += next.tokens();
        next.after = self.progress(seconds);
        lr_scale *= self.shaping.schedule.lr_scale(&before, &next.after);
        if let Some((from, to, curve)) = phase.and_then(|phase| phase.lr_scale) {
            lr_scale *= to + (from - to) * curve.at(into);
        }
        next.lr_scale = lr_scale;
        Some(next)
    }

    /// Whether full sequences are cut into several of this length.
    fn splits(&self, length: usize) -> bool {
        let cut = matches!(self.shaping.lengths, Lengths::Growing { cut: Cut::Split, .. });
        cut && length < self.shaping.full
    }

    fn length(&mut self, before: &Progress, phase: Option<&Phase>) -> (usize, Option<usize>, bool) {
        let full = self.shaping.full;
        if let Some(odds) = phase.and_then(|phase| phase.lengths.as_ref()) {
            let weights: Vec<f64> = odds.iter().map(|(_, odds)| *odds).collect();
            let mut random = Stream::new(self.shaping.seed, Purpose::Lengths, self.step);
            let length = odds[draw(&weights, random.uniform())].0;
            let bucket = match &self.shaping.lengths {
                Lengths::Buckets(buckets) => buckets.lengths.iter().position(|l| *l == length),
                _ => None,
            };
            return (length, bucket, false);
        }
        match (&self.shaping.lengths, &mut self.chooser) {
            (Lengths::Buckets(buckets), Some(chooser)) => {
                let bucket = chooser.next(self.step == 0);
                (buckets.lengths[bucket], Some(bucket), false)
            }
            (growing @ Lengths::Growing { cut, .. }, _) => {
                let length = growing.grown(full, before);
                (length, None, *cut == Cut::Truncate && length < full)
            }
            _ => (full, None, false),
        }
    }

    /// The phase at a moment, and the share of it that is over.
    fn phase(&self, progress: &Progress) -> (Option<&Phase>, f64) {
        let phases = &self.shaping.phases;
        // Spans in one unit add up; the position is measured in the unit of each.
        let mut gone = 0.0;
        for (at, phase) in phases.iter().enumerate() {
            let into = progress.since(phase.span) - gone / phase.span.number();
            if whole(into) < 1.0 || at + 1 == phases.len() {
                return (Some(phase), into.clamp(0.0, 1.0));
            }
            gone += phase.span.number();
        }
        (None, 0.0)
    }

    /// Walks on to a step, as a run that goes on does; `each` sees the steps on the way.
    pub fn walk_to(&mut self, step: u64, each: &mut dyn FnMut(&StepPlan)) {
        while self.step < step {
            // What happened in a run of given time is known by its steps.
            let Some(next) = self.next(0.0) else { break };
            each(&next);
        }
    }
}

/// Refuses more steps than a run may have.
fn bounded(steps: u64) -> Result<(), Failure> {
    if steps <= MOST_STEPS {
        return Ok(());
    }
    let message = format!("the run has more than {MOST_STEPS} steps");
    let diag = lrc_dsl::Diag::global("E0402", message);
    Err(Failure::Invalid(vec![diag.help("make `length` shorter, or `batch` larger")]))
}

#[cfg(test)]
mod tests {
    use super::super::lengths::{Reading, odds};
    use super::super::{Shape, WarmupCurve};
    use super::*;

    fn shaping(length: Amount, size: Size) -> Shaping {
        Shaping {
            length,
            batch: Batch { size, ramp: None },
            lengths: Lengths::Same,
            phases: vec![],
            schedule: Schedule {
                shape: Shape::Constant,
                warmup: Amount::Steps(0.0),
                rise: WarmupCurve::Linear,
                floor: 1.0,
            },
            full: 64,
            seed: 1,
        }
    }

    fn all(shaping: &Shaping, available: &[f64]) -> Vec<StepPlan> {
        let mut run_schedule = RunSchedule::new(shaping, available).unwrap();
        std::iter::from_fn(|| run_schedule.next(0.0)).collect()
    }

    #[test]
    fn a_batch_in_tokens_keeps_its_tokens_over_all_lengths() {
        let mut shaping = shaping(Amount::Tokens(1e5), Size::Tokens(1024.0));
        shaping.lengths = Lengths::Buckets(Buckets {
            lengths: vec![16, 32, 64],
            odds: odds("grow_p2", 3).unwrap(),
            cycles: 2,
            reading: Reading::Fixed,
            longest_first: true,
        });
        let steps = all(&shaping, &[1e5, 2e5, 1e5]);
        assert_eq!(steps.len(), 98);
        assert!(steps.iter().all(|step| step.tokens() == 1024));
        assert_eq!(steps[0].length, 64);
        let run_schedule = RunSchedule::new(&shaping, &[1e5, 2e5, 1e5]).unwrap();
        assert_eq!((run_schedule.whole().steps, run_schedule.whole().tokens), (98.0, 1e5));
    }

    #[test]
    fn what_is_to_do_is_known_without_a_walk_where_steps_are_alike() {
        let lengths = [0.5, 1.0, 2.5, 3.0, 7.0, 64.0, 1000.0, 1234.5]
            .map(|x| [Amount::Steps(x), Amount::Tokens(x)]);
        for length in lengths.into_iter().flatten() {
            for size in [Size::Sequences(1), Size::Sequences(3), Size::Tokens(100.0)] {
                let shaping = shaping(length, size);
                let run_schedule = RunSchedule::new(&shaping, &[]).unwrap();
                let steps = all(&shaping, &[]);
                assert_eq!(run_schedule.whole().steps, steps.len() as f64, "{length:?} {size:?}");
                let tokens = steps.iter().map(StepPlan::tokens).sum::<u64>() as f64;
                let want = if let Amount::Tokens(tokens) = length { tokens } else { tokens };
                assert_eq!(run_schedule.whole().tokens, want, "{length:?} {size:?}");
            }
        }
        let long = RunSchedule::new(&shaping(Amount::Tokens(1e18), Size::Sequences(1)), &[]);
        assert!(long.is_err());
    }

    #[test]
    fn a_ramp_goes_up_in_equal_factors_and_the_rate_with_it() {
        let mut shaping = shaping(Amount::Steps(100.0), Size::Sequences(64));
        let (from, rule) = (Size::Sequences(8), Rule::Root);
        shaping.batch.ramp = Some(Ramp { from, over: Amount::Steps(30.0), stages: 3, rule });
        let steps = all(&shaping, &[]);
        let seen: Vec<usize> = [0, 9, 10, 19, 20, 29, 30, 99].map(|s| steps[s].sequences).into();
        assert_eq!(seen, [8, 8, 16, 16, 32, 32, 64, 64]);
        assert!((steps[0].lr_scale - (8.0_f64 / 64.0).sqrt()).abs() < 1e-12);
        assert_eq!(steps[40].lr_scale, 1.0);
    }

    #[test]
    fn short_sequences_grow_whichever_way_the_rest_goes() {
        let growing = |cut| Lengths::Growing { from: 8, over: Amount::Share(0.5), step: 8, cut };
        let mut shaping = shaping(Amount::Steps(100.0), Size::Sequences(4));
        shaping.lengths = growing(Cut::Truncate);
        let steps = all(&shaping, &[]);
        assert_eq!((steps[0].length, steps[0].sequences, steps[0].truncate), (8, 4, true));
        assert_eq!((steps[60].length, steps[60].sequences, steps[60].truncate), (64, 4, false));
        assert!(steps.windows(2).all(|pair| pair[0].length <= pair[1].length));
        shaping.lengths = growing(Cut::Split);
        let steps = all(&shaping, &[]);
        assert_eq!((steps[0].length, steps[0].sequences), (8, 32));
        assert!(steps.iter().all(|step| step.tokens() <= 256 && step.tokens() > 192));
    }

    #[test]
    fn phases_follow_one_another() {
        let mut shaping = shaping(Amount::Tokens(64e3), Size::Tokens(640.0));
        let phase = |span, lr_scale, length| Phase {
            span: Amount::Share(span),
            lr_scale: Some(lr_scale),
            batch: None,
            lengths: Some(vec![(length, 1.0)]),
        };
        shaping.phases = vec![
            phase(0.4, (4.0, 4.0, DecayCurve::Linear), 16),
            phase(0.4, (2.0, 2.0, DecayCurve::Linear), 32),
            phase(0.2, (1.0, 0.0, DecayCurve::Cosine), 64),
        ];
        let steps = all(&shaping, &[]);
        assert_eq!(steps.len(), 100);
        assert_eq!((steps[39].length, steps[39].lr_scale), (16, 4.0));
        assert_eq!((steps[40].length, steps[40].lr_scale), (32, 2.0));
        assert_eq!(steps[80].length, 64);
        assert!((steps[90].lr_scale - 0.5).abs() < 1e-9);
    }
}
