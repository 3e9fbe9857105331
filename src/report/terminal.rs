//! Progress on a terminal: one line a resource, alive until it is done.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::style::{self, Tone, paint};
use crate::config::Face;
use crate::engine::event::{Ended, Reporter};
use crate::host::Host;

pub struct Terminal {
    bars: MultiProgress,
    tasks: Mutex<BTreeMap<String, ProgressBar>>,
    colored: bool,
}

impl Terminal {
    pub fn new(host: &Host, face: Face) -> Self {
        let colored = style::is_colored(face, host, &host.stderr);
        Self { bars: MultiProgress::new(), tasks: Mutex::default(), colored }
    }

    fn bar(&self, task: &str, doing: &str) -> ProgressBar {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks
            .entry(task.to_owned())
            .or_insert_with(|| {
                let bar = self.bars.add(ProgressBar::new_spinner());
                bar.set_style(line("{spinner} {prefix:<44!} {wide_msg} {elapsed:>5}"));
                bar.set_prefix(task.to_owned());
                bar.set_message(doing.to_owned());
                bar.enable_steady_tick(Duration::from_millis(100));
                bar
            })
            .clone()
    }
}

impl Reporter for Terminal {
    fn begin(&self, task: &str, doing: &'static str) {
        let bar = self.bar(task, doing);
        bar.set_message(doing);
    }

    fn waiting(&self, task: &str, what: &str) {
        self.bar(task, "").set_message(format!("waiting for {what}"));
    }

    fn end(&self, task: &str, ended: Ended) {
        let bar = self.bar(task, "");
        let (mark, tone, text) = match ended {
            Ended::Done(what) => ("✓", Tone::Good, what.to_owned()),
            Ended::Failed(_) => ("✗", Tone::Bad, "failed".to_owned()),
            Ended::Skipped(why) => ("-", Tone::Quiet, format!("skipped: {why}")),
        };
        let mark = paint(self.colored, tone, mark);
        bar.set_style(line(&format!("{mark} {{prefix:<44!}} {{wide_msg}} {{elapsed:>5}}")));
        bar.finish_with_message(text);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }

    fn note(&self, text: &str) {
        // A terminal that has gone away is no error of ours.
        let _ = self.bars.println(text);
    }
}

impl Drop for Terminal {
    /// What still waits when the run ends has been observed to be ready.
    fn drop(&mut self) {
        for bar in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            bar.finish_and_clear();
        }
    }
}

fn line(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
