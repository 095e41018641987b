//! What a run was, in numbers.

use super::run::Run;
use crate::device::Device;
use crate::ops::dense;
use crate::report::record::Summary;

impl Run<'_> {
    /// Operations a second, where the processor computes, as a share of what it can.
    pub(super) fn utilisation(&self, peak: Option<f64>) -> Option<f64> {
        let peak = peak?;
        let seconds = self.started.elapsed().as_secs_f64() - self.asking;
        (seconds > 0.0).then(|| self.operations / seconds / peak)
    }

    pub(super) fn pace(&self) -> String {
        self.utilisation(self.peak)
            .map_or(String::new(), |share| format!("  MFU {:.0} %", 100.0 * share))
    }

    pub(super) fn summary(&self, finished: bool) -> Summary {
        let now = self.summary_now(finished);
        // Without a step, what was measured before stays.
        match Summary::of(&self.options.folder) {
            Some(before) if self.tokens_here == 0 && before.steps == now.steps => Summary {
                seconds: before.seconds,
                tokens_per_second: before.tokens_per_second,
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
            kernels_per_step: self.engine.started().map(|[kernels, _]| kernels),
            products_per_step: self.engine.started().map(|[_, products]| products),
            seed: self.spec.seed,
            epochs: self.loader.epochs().into_iter().collect(),
            utilisation: self.utilisation(
                self.peak.or_else(|| peak(self.options.device, self.engine.model().width)),
            ),
            lineage: self.state.lineage.clone(),
            finished,
        }
    }
}

/// Operations a second of dense products, on the processor.
pub(super) fn peak(device: Device, width: usize) -> Option<f64> {
    (device == Device::Cpu).then(|| dense::speed(width))
}
