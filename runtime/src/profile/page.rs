//! A profile as a page that stands alone: bars of the steps of each kernel.

use std::fmt::Write;

use super::step::{self, StepProfile};
use super::text::{assumptions, megabytes, milliseconds};
use super::{OfKernel, Profile};
use crate::device::sim::count::kind::Class;
use crate::report::plot::{COLOURS, HEAD, escape, table};

/// Steps that a picture shows, the longest ones.
const MOST: usize = 24;

const STYLE: &str = "<style>.bar{display:flex;height:16px;background:#eee;margin:1px 0 6px}.bar i{display:block;height:16px}\
.step{font:12px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}</style>";

/// The page of recurrences and of training steps.
pub fn page(profiles: &[Profile], steps: &[StepProfile]) -> String {
    let mut page = HEAD.replace("<title>lrc run</title>", "<title>lrc profile</title>");
    page.push_str(STYLE);
    page.push_str("<h1>What kernels do, and where their time goes</h1>");
    page.push_str(
        "<p>Modelled, not measured: kernels were executed without a GPU and counted. Each bar is a step of a kernel's plan, \
         as long as its share of the time; its colours say what was done meanwhile: instructions of a kind were \
         issued, or their results waited for.</p>",
    );
    key(&mut page);
    steps.iter().for_each(|made| step::text::section(&mut page, made));
    for profile in profiles {
        let sizes = profile.sizes;
        let _ = write!(
            page,
            "<h2>{} on {}, {} × {} tokens, {} heads</h2>",
            escape(&profile.name),
            profile.hardware.name,
            sizes.batch,
            sizes.length,
            sizes.heads
        );
        let mut rows =
            vec![["pass", "time", "moves MB", "must move MB"].map(String::from).to_vec()];
        for schedule in &profile.schedules {
            rows.push(vec![
                schedule.name.clone(),
                milliseconds(schedule.seconds(&profile.hardware)),
                megabytes(schedule.moved()),
                megabytes(schedule.compulsory()),
            ]);
        }
        page.push_str(&table(&rows));
        profile.schedules.iter().flat_map(|s| &s.kernels).for_each(|k| bars(&mut page, k));
        let _ = write!(page, "<p class=\"key\">{}</p>", escape(&assumptions(&profile.hardware)));
    }
    page.push_str("</body></html>");
    page
}

/// Classes that cost something.
fn classes() -> impl Iterator<Item = (Class, &'static str)> {
    Class::ALL.into_iter().filter(|class| *class != Class::Move).zip(COLOURS)
}

fn key(page: &mut String) {
    page.push_str("<p class=\"key\">");
    for (class, colour) in classes() {
        let _ = write!(
            page,
            "<i><span style=\"background:{colour};height:10px\"></span>{}</i>",
            class.name()
        );
    }
    page.push_str("</p>");
}

pub(super) fn bars(page: &mut String, kernel: &OfKernel) {
    let all = kernel.counts.all().time().max(1.0);
    let _ = write!(
        page,
        "<h2>{}: {}</h2><p class=\"key\">{:.0} blocks of {} threads, {} at a time on a multiprocessor</p>",
        escape(&kernel.name),
        milliseconds(kernel.seconds),
        kernel.blocks,
        kernel.threads,
        kernel.resident
    );
    let mut steps: Vec<_> = kernel.steps.iter().filter(|step| step.tally.time() > 0.0).collect();
    steps.sort_by(|a, b| b.tally.time().total_cmp(&a.tally.time()));
    let longest = steps.first().map_or(1.0, |step| step.tally.time());
    for step in steps.into_iter().take(MOST) {
        let tally = &step.tally;
        let _ = write!(
            page,
            "<div class=\"step\">{:.1} % · {}</div><div class=\"bar\">",
            100.0 * tally.time() / all,
            escape(&step.text)
        );
        for (class, colour) in classes() {
            let part = tally.cycles[class as usize];
            let width = 100.0 * part / longest;
            if width > 0.0 {
                let _ = write!(
                    page,
                    "<i style=\"width:{width:.2}%;background:{colour}\" title=\"{} {:.0} %\"></i>",
                    class.name(),
                    100.0 * part / tally.time()
                );
            }
        }
        page.push_str("</div>");
    }
}
