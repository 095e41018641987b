//! What a run was, in numbers.

use super::run::Run;
use crate::report::record::Summary;

impl Run<'_> {
    /// Operations a second that the model needs, by the published formulas, of this process without its evaluations: three times
    /// those of the forward pass, less where something is frozen, whatever is computed again.
    pub(super) fn rate(&self) -> f64 {
        let seconds = self.started.elapsed().as_secs_f64() - self.asking;
        if seconds > 0.0 { self.operations / seconds } else { 0.0 }
    }

    /// What people are shown of it, and of the peak where that is known.
    pub(super) fn pace(&self) -> String {
        let share = self.peak.map(|peak| format!("  MFU {:.0} %", 100.0 * self.rate() / peak));
        format!("  {}{}", said(self.rate()), share.unwrap_or_default())
    }

    pub(super) fn summary(&self, finished: bool) -> Summary {
        let now = self.summary_now(finished);
        // Without a step, what was measured before stays.
        match Summary::of(&self.options.folder) {
            Some(before) if self.tokens_here == 0 && before.steps == now.steps => Summary {
                seconds: before.seconds,
                tokens_per_second: before.tokens_per_second,
                model_flops_per_second: before.model_flops_per_second,
                utilisation: before.utilisation,
                kernels_per_step: before.kernels_per_step,
                products_per_step: before.products_per_step,
                ..now
            },
            _ => now,
        }
    }

    pub(super) fn summary_now(&self, finished: bool) -> Summary {
        let seconds = self.started.elapsed().as_secs_f64();
        Summary {
            steps: self.state.step,
            tokens: self.state.tokens,
            final_loss: self.record.last_loss(),
            best_val_loss: self.state.best,
            eval: self.evals.clone(),
            seconds,
            tokens_per_second: self.tokens_here as f64 / seconds.max(1e-9),
            device: self.options.device.name().into(),
            processes: self.options.group.as_ref().map(|group| group.place().size),
            kernels_per_step: self.engine.started().map(|[kernels, _]| kernels),
            products_per_step: self.engine.started().map(|[_, products]| products),
            seed: self.spec.seed,
            epochs: self.loader.epochs().into_iter().collect(),
            model_flops_per_second: self.rate(),
            utilisation: self.peak.or_else(|| self.engine.peak()).map(|peak| self.rate() / peak),
            lineage: self.state.lineage.clone(),
            finished,
        }
    }
}

/// Operations a second in the unit that suits them.
fn said(rate: f64) -> String {
    if rate < 1e12 {
        format!("{:.1} GFLOP/s", rate / 1e9)
    } else {
        format!("{:.1} TFLOP/s", rate / 1e12)
    }
}
