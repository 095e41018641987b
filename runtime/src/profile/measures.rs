//! A few numbers that say how far a pass is from what its kernels could be.

use super::{OfKernel, OfSchedule, Step};

/// Steps that take less of a kernel's time may have few threads.
const LONG: f64 = 0.05;
/// Fewer of a block's threads than this share are few.
const FEW: f64 = 0.25;

/// What of a pass is measured.
#[derive(Clone, Debug)]
pub struct Measures {
    /// Bytes moved, as a share of those that must be, at two bytes a number.
    pub moved: f64,
    /// The same at the bytes by which numbers are held today.
    pub moved_as_held: f64,
    /// Wavefronts of products that wait for a bank, as a share of those that do not.
    pub conflicts: f64,
    /// Long steps on few threads.
    pub narrow: Vec<Narrow>,
}

/// A long step on few threads.
#[derive(Clone, Debug)]
pub struct Narrow {
    /// The kernel.
    pub kernel: String,
    /// The step, as the plan says it.
    pub step: String,
    /// Its share of the kernel's time.
    pub time: f64,
    /// The share of the block's threads that work meanwhile.
    pub threads: f64,
}

impl Step {
    /// Whether it is a product on the matrix units, as plans print one.
    fn is_product(&self) -> bool {
        self.text.starts_with("product ")
    }

    /// The share of the block's threads that work on it.
    pub fn threads(&self) -> f64 {
        let [busy, could] = self.tally.lanes;
        if could > 0.0 { busy / could } else { 1.0 }
    }
}

impl OfSchedule {
    /// Its measures.
    pub fn measures(&self) -> Measures {
        let products = self.kernels.iter().flat_map(|kernel| &kernel.steps);
        let [asked, needed] =
            products.filter(|step| step.is_product()).fold([0.0, 0.0], |[a, b], step| {
                [a + step.tally.wavefronts[0], b + step.tally.wavefronts[1]]
            });
        Measures {
            moved: self.moved() / self.compulsory(),
            moved_as_held: self.moved() / self.held(),
            conflicts: if needed > 0.0 { asked / needed - 1.0 } else { 0.0 },
            narrow: self.kernels.iter().flat_map(narrow).collect(),
        }
    }
}

fn narrow(kernel: &OfKernel) -> Vec<Narrow> {
    let whole: f64 = kernel.steps.iter().map(|step| step.tally.time()).sum();
    let long = |step: &&Step| step.tally.time() > LONG * whole && step.threads() < FEW;
    let found = kernel.steps.iter().filter(long).map(|step| Narrow {
        kernel: kernel.name.clone(),
        step: step.text.clone(),
        time: step.tally.time() / whole,
        threads: step.threads(),
    });
    found.collect()
}
