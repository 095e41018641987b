//! Published configurations, and what must hold of any.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::fabric::FABRICS;
use super::traffic::half;
use super::*;

fn near(found: f64, published: f64) {
    assert!((found / published - 1.0).abs() < 0.05, "{found}, published {published}");
}

/// Mixed precision with Adam as ZeRO counts it: two bytes of parameters and of gradients, twelve of the optimiser.
fn mixed(parameters: f64) -> Held {
    Held { parameters: 2.0 * parameters, gradients: 2.0 * parameters, optimiser: 12.0 * parameters }
}

/// Rajbhandari et al. 2020, figure 1 and table 1: GB of each GPU for 7.5 and 128 milliards of parameters.
#[test]
fn memory_is_that_of_zeros_table() {
    for (gpus, plain, [first, second]) in [
        (1, 120.0, [120.0, 120.0]),
        (4, 120.0, [52.5, 41.3]),
        (16, 120.0, [35.6, 21.6]),
        (64, 120.0, [31.4, 16.6]),
        (256, 120.0, [30.4, 15.4]),
        (1024, 120.0, [30.1, 15.1]),
    ] {
        let of = |zero| mixed(7.5e9).each(zero, gpus).all() / 1e9;
        near(of(Zero::None), plain);
        near(of(Zero::Optimiser), first);
        near(of(Zero::Gradients), second);
    }
    let of = |zero| mixed(128e9).each(zero, 1024).all() / 1e9;
    near(of(Zero::Optimiser), 513.0);
    near(of(Zero::Gradients), 257.0);
}

/// LLaMA 65B (Touvron et al. 2023): 1.4 T tokens in steps of 4 M on 2048 A100, 380 tokens a second each.
fn llama() -> Job {
    Job {
        held: mixed(65.2e9),
        sequences: 2048,
        length: 2048,
        micro: 2048,
        activations: 0.0,
        logits: 0.0,
        operations: 6.0 * 65.2e9,
        states: 0.0,
        gathered: 0.0,
        steps: Some(1_400_000_000_000 / (2048 * 2048)),
    }
}

/// Section 2.4 says about 21 days, table 15 1 022 362 GPU hours: what their speed, as a share of the peak, makes of them.
#[test]
fn hours_are_those_of_llama() {
    let (job, fabric) = (llama(), &FABRICS[0]);
    let share = 380.0 * job.operations / fabric.hardware.peak;
    let layout = Layout { gpus: 2048, per_node: 8, zero: Zero::None, shared: 1 };
    let local = job.local(&layout).unwrap();
    assert_eq!(local, Local { batch: 1, length: 2048, parts: 1 });
    let computed = Computed::by_share(&job, &local, fabric.hardware.peak, share);
    // Their speed is that of all: what is sent is in it.
    let nothing = Fabric { within: f64::INFINITY, between: f64::INFINITY, ..*fabric };
    let plan = plan(&job, layout, local, &nothing, computed);
    near(plan.speed / 2048.0, 380.0);
    let [hours, gpu_hours] = plan.hours.unwrap();
    near(hours / 24.0, 21.0);
    near(gpu_hours, 1_022_362.0);
}

/// Brown et al. 2020, table D.1: six operations of a parameter and token, 3.14e23 in all.
#[test]
fn operations_are_those_of_gpt3() {
    let job = Job { operations: 6.0 * 174.6e9, ..llama() };
    near(job.operations * 300e9, 3.14e23);
}

fn layout(gpus: usize, zero: Zero) -> Layout {
    Layout { gpus, per_node: 8, zero, shared: 1 }
}

/// Twice the bytes but for the share that stays (Patarasuk and Yuan 2009), however nodes cut them; ZeRO's are no more.
#[test]
fn sums_send_the_least_that_there_can_be() {
    for gpus in [2, 8, 64, 4096] {
        let ranks = Ranks::of(gpus, 8);
        let sent = 2.0 * half(1e9, &ranks, &FABRICS[1]).bytes;
        let least = 2e9 * (gpus as f64 - 1.0) / gpus as f64;
        assert!((sent / least - 1.0).abs() < 1e-12, "{gpus}: {sent} {least}");
        let job = Job { sequences: 4096, ..llama() };
        let bytes = |zero| {
            let layout = layout(gpus, zero);
            let local = Local { batch: 1, length: 2048, parts: 1 };
            let traffic = traffic::of(&job, &layout, &local, &ranks, &FABRICS[1]);
            traffic.reduce.bytes + traffic.gather.bytes
        };
        near(bytes(Zero::Optimiser), bytes(Zero::None));
        near(bytes(Zero::Gradients), bytes(Zero::None));
    }
}

#[test]
fn sequences_are_shared_out_and_parts_fit() {
    let job = Job { sequences: 100, micro: 3 * 2048, ..llama() };
    let local = |gpus, shared| job.local(&Layout { shared, ..layout(gpus, Zero::None) });
    assert_eq!(local(8, 1), Ok(Local { batch: 3, length: 2048, parts: 5 }));
    assert_eq!(local(64, 1), Ok(Local { batch: 2, length: 2048, parts: 1 }));
    assert_eq!(local(128, 1), Err(Refused::Idle { sequences: 100, groups: 128 }));
    assert_eq!(local(128, 2), Ok(Local { batch: 2, length: 1024, parts: 1 }));
    assert_eq!(local(128, 3), Err(Refused::Uneven));
}

/// What summaries of segments send does not grow with the sequence; keys and values do.
#[test]
fn summaries_do_not_grow_with_the_sequence() {
    let sent = |length: usize, [states, gathered]: [f64; 2]| {
        let job = Job { length, micro: length, states, gathered, ..llama() };
        let layout = Layout { shared: 4, ..layout(64, Zero::None) };
        let local = job.local(&layout).unwrap();
        let bytes =
            traffic::of(&job, &layout, &local, &Ranks::of(64, 8), &FABRICS[1]).sequence.bytes;
        bytes / (local.batch * local.parts) as f64
    };
    assert_eq!(sent(4096, [1e6, 0.0]), sent(65536, [1e6, 0.0]));
    assert_eq!(16.0 * sent(4096, [0.0, 1e3]), sent(65536, [0.0, 1e3]));
}

/// More GPUs take less time, never less GPU time; what is hidden beside the backward pass is no more than all that is sent.
#[test]
fn more_gpus_are_faster_and_no_cheaper() {
    let job = Job { sequences: 4096, ..llama() };
    let mut before: Option<Plan> = None;
    for gpus in [8, 64, 512, 4096] {
        let layout = layout(gpus, Zero::Optimiser);
        let local = job.local(&layout).unwrap();
        let fabric = &FABRICS[1];
        let computed = Computed::by_share(&job, &local, fabric.hardware.peak, 0.4);
        let now = plan(&job, layout, local, fabric, computed);
        assert!(now.seconds <= now.apart && now.utilisation <= 0.4);
        if let Some(before) = before {
            assert!(now.seconds < before.seconds);
            assert!(now.hours.unwrap()[1] >= 0.999 * before.hours.unwrap()[1]);
        }
        before = Some(now);
    }
}
